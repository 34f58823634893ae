// The page Rank in the browser: the order of the answers, ties, flags and the ideal answer, as they are until they are
// sent. They are kept in this browser for each person and item, so that neither a reload nor a server that went away
// loses them. What is an item, and what becomes of what is sent, is in Python (rank.py).
"use strict";

(() => {
  const PREFIX = "homeroom_rank:";
  const KEPT = 20; // items
  const EDGE = 72; // pixels: a dragged answer that is held so near to an end of the view scrolls it
  const FLAGS = { t: "toxic", u: "untrue", o: "off-topic", h: "unhelpful" };

  let begun = null; // the board that is shown
  let words = {};
  let spoken = ""; // what the words were read from
  let touched = false;
  let asked = false;
  let drop = null; // ends what is being dragged

  const stage = () => document.querySelector(".rank-stage");
  const list = () => begun.querySelector(".cards");
  const cards = () => [...list().querySelectorAll(".card")];
  const ideal = () => begun.querySelector(".ideal textarea");
  const isTied = (card) => card.hasAttribute("data-tied");
  const tie = (card, tied) => card.toggleAttribute("data-tied", tied);
  const keyOf = (item) => `${PREFIX}${stage().dataset.user}:${item}`;

  // What was said

  function said() {
    const tiers = [];
    const flags = {};
    for (const card of cards()) {
      if (isTied(card) && tiers.length) tiers.at(-1).push(card.dataset.id);
      else tiers.push([card.dataset.id]);
      const pressed = [...card.querySelectorAll('.flag[aria-pressed="true"]')].map((flag) => flag.dataset.flag);
      if (pressed.length) flags[card.dataset.id] = pressed;
    }
    return { tiers, flags, ideal: ideal().value };
  }

  // Answers that are not among the tiers come last. Whatever lies in the browser's store, the answers are the item's.
  function restore({ tiers, flags, ideal: text }) {
    const left = new Map(cards().map((card) => [card.dataset.id, card]));
    for (const tier of tiers) {
      tier.filter((id) => left.has(id)).forEach((id, place) => {
        const card = left.get(id);
        left.delete(id);
        list().append(card);
        tie(card, place > 0);
        for (const flag of card.querySelectorAll(".flag")) {
          flag.setAttribute("aria-pressed", String([flags[id] ?? []].flat().includes(flag.dataset.flag)));
        }
      });
    }
    left.forEach((card) => list().append(card));
    ideal().value = text || "";
    homeroom.fit(ideal());
  }

  function kept(item) {
    try {
      const draft = JSON.parse(localStorage.getItem(keyOf(item)));
      return draft && Array.isArray(draft.tiers) && draft.tiers.every(Array.isArray) && draft.flags ? draft : null;
    } catch {
      return null;
    }
  }

  function keep() {
    try {
      localStorage.setItem(keyOf(begun.dataset.item), JSON.stringify({ ...said(), at: Date.now() }));
    } catch {
      return; // the store is full or switched off: then only what is sent outlives a reload
    }
    const drafts = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
    if (drafts.length <= KEPT) return;
    const at = (key) => Number(/"at":(\d+)\}$/.exec(localStorage.getItem(key))?.[1] || 0);
    drafts.sort((one, other) => at(other) - at(one)).slice(KEPT).forEach((key) => localStorage.removeItem(key));
  }

  function changed(card) {
    touched = true;
    show();
    keep();
    tell("");
    if (card) announce(card);
  }

  // What is shown of it

  function show() {
    const all = cards();
    let tier = 0;
    all.forEach((card, place) => {
      if (!isTied(card)) tier += 1;
      card.querySelector(".place").textContent = tier;
      card.querySelector(".place-said").textContent = placeSaid(card);
      disable(card.querySelector(".move-up"), place === 0);
      disable(card.querySelector(".move-down"), place === all.length - 1);
      disable(card.querySelector(".same"), place === 0);
      card.querySelector(".same").setAttribute("aria-pressed", String(isTied(card)));
    });
  }

  // Not `disabled`: that would take the keyboard's place away.
  const disable = (button, is) => button.setAttribute("aria-disabled", String(is));

  function placeSaid(card) {
    const all = cards();
    const said = isTied(card) ? words.placeTied : words.place;
    return said.replace("{place}", all.indexOf(card) + 1).replace("{count}", all.length);
  }

  const announce = (card) => (stage().querySelector(".rank-live").textContent = placeSaid(card));
  const tell = (text) => (document.querySelector(".rank-told").textContent = text);

  // Moving: who lands between answers that are equally good is as good as they are, who leaves them breaks no tie.

  function place(card, index) {
    const all = cards();
    const to = Math.min(Math.max(index, 0), all.length - 1);
    const from = all.indexOf(card);
    if (from === to) return;
    const focused = document.activeElement;
    const following = all[from + 1];
    if (following && isTied(following) && !isTied(card)) tie(following, false);
    const others = all.filter((other) => other !== card);
    const before = others[to] || null;
    tie(card, before !== null && to > 0 && isTied(before));
    list().insertBefore(card, before);
    if (card.contains(focused)) focused.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
    changed(card);
  }

  const by = (card, step) => place(card, cards().indexOf(card) + step);

  function same(card) {
    if (cards()[0] === card) return;
    tie(card, !isTied(card));
    changed(card);
  }

  function toggle(flag) {
    flag.setAttribute("aria-pressed", String(flag.getAttribute("aria-pressed") !== "true"));
    changed(null);
  }

  function look(card) {
    if (!card) return;
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }

  // Dragging. The others make room where the answer would land; the document changes when it is let go.

  function grab(event) {
    const handle = event.target.closest?.(".handle");
    if (!handle || event.button !== 0 || drop) return;
    event.preventDefault();
    const card = handle.closest(".card");
    const all = cards();
    const from = all.indexOf(card);
    const scroller = document.querySelector(".rank-scroller");
    const boxes = all.map((each) => {
      const box = each.getBoundingClientRect();
      return { top: box.top + scroller.scrollTop, height: box.height };
    });
    const room = boxes[from].height + parseFloat(getComputedStyle(list()).rowGap || 0);
    const start = event.clientY + scroller.scrollTop;
    const listening = new AbortController();
    let y = event.clientY;

    // How many of the others have their middle above the pointer.
    const landing = () =>
      boxes.filter((box, at) => at !== from && box.top + box.height / 2 < y + scroller.scrollTop).length;

    function draw() {
      const view = scroller.getBoundingClientRect();
      if (y < view.top + EDGE) scroller.scrollTop -= 10;
      if (y > view.bottom - EDGE) scroller.scrollTop += 10;
      const to = landing();
      card.style.transform = `translateY(${y + scroller.scrollTop - start}px)`;
      all.forEach((each, at) => {
        if (at === from) return;
        const shift = at > from && at <= to ? -room : at < from && at >= to ? room : 0;
        each.style.transform = shift ? `translateY(${shift}px)` : "";
      });
      frame = requestAnimationFrame(draw);
    }

    drop = (lands) => {
      drop = null;
      listening.abort();
      cancelAnimationFrame(frame);
      const to = landing();
      begun?.classList.remove("dragging");
      card.classList.remove("dragged");
      all.forEach((each) => (each.style.transform = ""));
      if (lands && card.isConnected) place(card, to);
      if (card.isConnected) card.focus({ preventScroll: true });
    };

    const options = { signal: listening.signal };
    const pointer = event.pointerId;
    const mine = (then) => (other) => other.pointerId === pointer && then(other);
    window.addEventListener("pointermove", mine((move) => (y = move.clientY)), options);
    window.addEventListener("pointerup", mine((up) => ((y = up.clientY), drop(true))), options);
    window.addEventListener("pointercancel", mine(() => drop(false)), options);
    begun.classList.add("dragging");
    card.classList.add("dragged");
    let frame = requestAnimationFrame(draw);
  }

  // Keys. Those of one letter can be switched off.

  const press = (name) => document.querySelector(name)?.click();

  function step(by) {
    if (!begun) return;
    const all = cards();
    const at = all.indexOf(document.activeElement.closest?.(".card"));
    look(at < 0 ? all.at(by > 0 ? 0 : -1) : all[at + by]);
  }

  const letters = {
    j: () => step(1),
    k: () => step(-1),
    i: () => begun && ideal().focus(),
    s: () => press(".rank-skip"),
    z: () => press(".rank-undo"),
    "?": () => homeroom.open("help"),
  };

  // True: the key meant something on the answer that has the focus itself.
  function onCard(card, event) {
    const up = event.key === "ArrowUp";
    if (up || event.key === "ArrowDown") {
      if (event.altKey) by(card, up ? -1 : 1);
      else step(up ? -1 : 1);
    } else if (/^[1-9]$/.test(event.key)) place(card, Number(event.key) - 1);
    else if (event.key === "=") same(card);
    else if (Object.hasOwn(FLAGS, event.key) && homeroom.usesLetters()) {
      toggle(card.querySelector(`.flag[data-flag="${FLAGS[event.key]}"]`));
    } else return false;
    return true;
  }

  function onKey(event) {
    if (event.isComposing || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const field = event.target.closest("textarea, input, select");
    const card = begun && event.target.closest(".card");
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "Escape") {
      if (drop) drop(false);
      else if (field && begun) look(cards()[0]);
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) press(".rank-send");
    else if (field || !(isPlain || event.altKey)) return;
    else if (card && (isPlain || event.key.startsWith("Arrow")) && onCard(card, event)) event.preventDefault();
    else if (isPlain && homeroom.usesLetters() && Object.hasOwn(letters, event.key)) {
      event.preventDefault();
      letters[event.key]();
    }
  }

  function onClick(event) {
    const card = begun && event.target.closest(".card");
    const button = card && event.target.closest("button");
    if (!button || button.getAttribute("aria-disabled") === "true") return;
    if (button.matches(".move-up")) by(card, -1);
    if (button.matches(".move-down")) by(card, 1);
    if (button.matches(".same")) same(card);
    if (button.matches(".flag")) toggle(button);
  }

  // The server puts another board here, or other words, or says what counts by now.

  function follow() {
    const here = stage();
    if (!here) return;
    if (here.dataset.counted) localStorage.removeItem(keyOf(here.dataset.counted));
    const board = here.querySelector(".board");
    const spoke = spoken;
    spoken = here.dataset.words;
    words = JSON.parse(spoken);
    if (board === begun) {
      if (begun && spoken !== spoke) show();
      return;
    }
    const isFirst = begun === null && !here.dataset.counted;
    if (drop) drop(false);
    begun = board;
    asked = false;
    tell("");
    if (!begun) return;
    const before = kept(begun.dataset.item) || JSON.parse(begun.dataset.said);
    touched = before !== null;
    if (before) restore(before);
    show();
    // Who goes through the queue begins to read at the question.
    if (!isFirst) begun.querySelector(".asked").focus();
  }

  homeroom.ranking = {
    send(emit) {
      if (!begun) return;
      if (!touched && !asked) {
        asked = true;
        tell(words.untouched);
        return;
      }
      const { tiers, flags, ideal: text } = said();
      emit({
        question_id: begun.dataset.question,
        state: "ranked",
        tiers,
        flags,
        ideal_answer: text.trim() ? text : null,
      });
    },

    skip(emit) {
      if (begun) emit({ question_id: begun.dataset.question, state: "skipped" });
    },
  };

  document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(follow).observe(document.body, {
      childList: true,
      subtree: true,
      attributes: true,
      attributeFilter: ["data-words", "data-counted"],
    });
    follow();
  });
  document.addEventListener("input", (event) => {
    if (begun && event.target === ideal()) changed(null);
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", onClick);
  document.addEventListener("pointerdown", grab);
})();
