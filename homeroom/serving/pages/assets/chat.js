// What the browser does on its own: the boxes to write in, the menu of a phone, dialogs, copying. Keys are in keys.js,
// everything else is in Python.
"use strict";

window.homeroom = {
  area: () => document.querySelector(".composer textarea"),

  send(emit) {
    this.menu(false);
    emit({ text: this.area().value, length: this.area().value.length });
  },

  // A text that is too long is not let in: browsers take seconds to lay out a megabyte, and the connection carries
  // no more at once. The server says what is allowed.
  admit(event, emit, longest) {
    const length = event.target.value.length + (event.data || "").length;
    if (length <= longest) return;
    event.preventDefault();
    emit({ text: "", length });
  },

  // While Chinese is being composed, Enter chooses a word (keyCode 229 in browsers that end composing first).
  sends: (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229,

  enter(event, emit) {
    if (!this.sends(event)) return;
    event.preventDefault();
    this.send(emit);
  },

  clear() {
    const area = this.area();
    area.value = "";
    this.fit(area);
    this.backToBox();
  },

  // A finger would bring up its keyboard over what it just chose.
  backToBox() {
    if (matchMedia("(hover: hover)").matches) this.area().focus();
  },

  fit(area) {
    if (CSS.supports("field-sizing", "content")) return;
    area.style.height = "auto";
    area.style.height = area.scrollHeight + "px";
  },

  // The column is laid out from its end, where 0 is.
  toEnd: () => setTimeout(() => document.querySelector(".scroller").scrollTo({ top: 0, behavior: "smooth" }), 50),

  menu: (open) => document.documentElement.classList.toggle("menu-open", open),

  // A question is changed in its own place. That it is being changed is known to the browser alone.
  editQuestion(turn, open) {
    const area = turn.querySelector(".question-form textarea");
    turn.toggleAttribute("data-editing", open);
    if (open) {
      area.value = turn.querySelector(".bubble").textContent;
      area.focus();
      this.fit(area);
    } else {
      turn.querySelector(".edit-question").focus();
    }
  },

  sendQuestion(turn, emit) {
    const text = turn.querySelector(".question-form textarea").value;
    if (!text.trim() || document.querySelector(".answer.writing")) return;
    turn.removeAttribute("data-editing");
    this.area().focus();
    emit({ text: text.length > 100000 ? "" : text, length: text.length });
  },

  questionKeys(event, emit) {
    if (!this.sends(event)) return;
    event.preventDefault();
    this.sendQuestion(event.target.closest(".turn"), emit);
  },

  searching: 0,

  search(text, emit) {
    clearTimeout(this.searching);
    this.searching = setTimeout(() => emit(text), 200);
  },

  usesLetters: () => localStorage.getItem("homeroom_letters") !== "off",

  useLetters: (use) => localStorage.setItem("homeroom_letters", use ? "on" : "off"),

  open(id) {
    const letters = document.getElementById("letters"); // not every page lists keys
    if (letters) letters.checked = this.usesLetters();
    document.getElementById(id).showModal();
  },

  close: (id) => document.getElementById(id).close(),

  // Every field's value by name, null where it is empty; what a browser cannot read as a number is wrong, not empty.
  sampling(field, emit) {
    const given = {};
    for (const input of field.form.elements) {
      if (input.name) given[input.name] = input.validity.badInput ? "?" : input.value === "" ? null : Number(input.value);
    }
    emit(given);
  },

  clearSampling(emit) {
    document.querySelectorAll("#sampling input").forEach((input) => (input.value = ""));
    emit({});
  },

  async copy(button) {
    await this.copyText(button, button.dataset.text);
  },

  async copyText(button, text) {
    const outcome = (await this.toClipboard(text)) ? "done" : "failed";
    button.classList.add(outcome);
    setTimeout(() => button.classList.remove(outcome), outcome === "done" ? 1500 : 6000);
  },

  async toClipboard(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Browsers have it in secure contexts alone, which a page over plain HTTP from another machine is not.
      return this.copySelected(text);
    }
  },

  copySelected(text) {
    const area = document.createElement("textarea");
    const focused = document.activeElement;
    area.value = text;
    area.readOnly = true; // no keyboard slides in on a phone
    area.style.cssText = "position: fixed; top: 0; opacity: 0";
    document.body.append(area);
    area.focus({ preventScroll: true });
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus({ preventScroll: true });
    return copied;
  },

  remember(name, value) {
    this.keep(`homeroom_${name}`, value, "/");
  },

  keep(name, value, path) {
    const age = value === "" ? 0 : 31536000;
    document.cookie = `${name}=${encodeURIComponent(value)}; path=${path}; max-age=${age}; SameSite=Lax`;
  },
};

document.addEventListener("input", (event) => {
  if (event.target.tagName === "TEXTAREA") homeroom.fit(event.target);
});
document.addEventListener("click", (event) => {
  const button = event.target.closest(".code-copy");
  if (button) homeroom.copyText(button, button.closest(".code").querySelector("code").textContent);
  // The dialog itself is hit only beside what it holds.
  if (event.target.tagName === "DIALOG") event.target.close();
});
