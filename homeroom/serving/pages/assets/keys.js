// Keys. What each does is pressing a button that is there for everybody; help.py lists them.
"use strict";

(() => {
  const isShown = (element) => element && element.offsetParent !== null;
  const turns = () => [...document.querySelectorAll(".turn")];
  const focused = () => document.activeElement?.closest(".turn");

  const press = (element) => isShown(element) && element.click();

  // From the box, or from nowhere, the step up goes to the last turn.
  function step(by) {
    const all = turns();
    const at = focused() ? all.indexOf(focused()) : all.length;
    const next = all[Math.min(Math.max(at + by, 0), all.length)];
    if (!next && by > 0 && focused()) return homeroom.area().focus();
    if (!next) return;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  const turn = () => focused() || turns().at(-1);

  const letters = {
    "/": () => homeroom.area().focus(),
    "?": () => homeroom.open("help"),
    j: () => step(1),
    k: () => step(-1),
    g: () => press(turn()?.querySelector(".up")),
    b: () => press(turn()?.querySelector(".down")),
  };

  function escape() {
    const editing = document.querySelector(".turn[data-editing]");
    if (document.documentElement.classList.contains("menu-open")) homeroom.menu(false);
    else if (editing) homeroom.editQuestion(editing, false);
    else press(document.querySelector(".composer .stop"));
  }

  const choices = {
    ArrowLeft: ".choose-left",
    ArrowRight: ".choose-right",
    ArrowDown: ".choose-same",
    Delete: ".choose-bad",
  };

  // In the empty box these keys do nothing else. Elsewhere the arrow down scrolls, in an answer the others may, too.
  function choice(event, field) {
    if (!Object.hasOwn(choices, event.key) || event.repeat || event.target.closest(".answer-text")) return null;
    const inBox = field === homeroom.area() && field.value === "";
    if (!inBox && (field || event.key === "ArrowDown")) return null;
    const pressed = turn()?.querySelector(choices[event.key]);
    return isShown(pressed) ? pressed : null;
  }

  function onKey(event) {
    if (event.isComposing || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const field = event.target.closest("textarea, input, select, [contenteditable]");
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "Escape") escape();
    else if (event.altKey && ["ArrowUp", "ArrowDown"].includes(event.key)) {
      event.preventDefault();
      step(event.key === "ArrowUp" ? -1 : 1);
    } else if (isPlain && event.key === "ArrowUp" && field === homeroom.area() && field.value === "") {
      event.preventDefault();
      press(turns().at(-1)?.querySelector(".edit-question"));
    } else if (isPlain && choice(event, field)) {
      event.preventDefault();
      choice(event, field).click();
    } else if (isPlain && !field && homeroom.usesLetters() && Object.hasOwn(letters, event.key)) {
      event.preventDefault();
      letters[event.key]();
    }
  }

  document.addEventListener("keydown", onKey);
})();
