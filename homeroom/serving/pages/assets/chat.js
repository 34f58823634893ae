// What the browser does on its own: the box to write in, the menu of a phone, copying. Everything else is in Python.
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
  enter(event, emit) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.send(emit);
  },

  clear() {
    const area = this.area();
    area.value = "";
    this.fit(area);
    if (matchMedia("(hover: hover)").matches) area.focus();
  },

  fit(area) {
    if (CSS.supports("field-sizing", "content")) return;
    area.style.height = "auto";
    area.style.height = area.scrollHeight + "px";
  },

  // The column is laid out from its end, where 0 is.
  toEnd: () => setTimeout(() => document.querySelector(".scroller").scrollTo({ top: 0, behavior: "smooth" }), 50),

  menu: (open) => document.documentElement.classList.toggle("menu-open", open),

  async copy(button) {
    const text = button.closest(".answer").querySelector(".answer-text").textContent;
    await navigator.clipboard.writeText(text);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  },

  remember(name, value) {
    document.cookie = `homeroom_${name}=${value}; path=/; max-age=31536000; SameSite=Lax`;
  },
};

document.addEventListener("input", (event) => {
  if (event.target.tagName === "TEXTAREA") homeroom.fit(event.target);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") homeroom.menu(false);
});
