// Keys. What each does is pressing a button that is there for everybody; help.py lists them.
"use strict";

(() => {
  const LETTERS = "homeroom_letters";
  const usesLetters = () => localStorage.getItem(LETTERS) !== "off";
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
    "=": () => press(turn()?.querySelector(".choose-same")),
    x: () => press(turn()?.querySelector(".choose-bad")),
  };

  function escape() {
    const editing = document.querySelector(".turn[data-editing]");
    if (document.documentElement.classList.contains("menu-open")) homeroom.menu(false);
    else if (editing) homeroom.editQuestion(editing, false);
    else press(document.querySelector(".composer .stop"));
  }

  const sides = { ArrowLeft: ".choose-left", ArrowRight: ".choose-right" };

  // In the empty box these keys do nothing else. In an answer they scroll what is wide.
  function side(event, field) {
    if (!Object.hasOwn(sides, event.key) || event.repeat || event.target.closest(".answer-text")) return null;
    if (field && (field !== homeroom.area() || field.value !== "")) return null;
    const choice = turn()?.querySelector(sides[event.key]);
    return isShown(choice) ? choice : null;
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
    } else if (isPlain && side(event, field)) {
      event.preventDefault();
      side(event, field).click();
    } else if (isPlain && !field && usesLetters() && Object.hasOwn(letters, event.key)) {
      event.preventDefault();
      letters[event.key]();
    }
  }

  homeroom.useLetters = (use) => localStorage.setItem(LETTERS, use ? "on" : "off");

  const openDialog = homeroom.open;
  homeroom.open = (id) => {
    document.getElementById("letters").checked = usesLetters();
    openDialog(id);
  };

  document.addEventListener("keydown", onKey);
})();
