// What the browser does on its own on the pages for those who operate: it sends what was decided, and tells what came.
"use strict";

homeroom.decide = async (form) => {
  const confirm = form.querySelector(".solid-button"), wrong = form.querySelector(".wrong");
  const headers = { "Content-Type": "application/json" };
  if (form.dataset.token) headers["X-Homeroom-Form-Token"] = form.dataset.token;
  const body = JSON.stringify({ ...JSON.parse(form.dataset.body), reason: form.elements.reason.value.trim() });
  confirm.disabled = true;
  wrong.textContent = "";
  try {
    const response = await fetch(form.dataset.path, { method: "POST", headers, body });
    if (response.ok) return form.closest("dialog").close(); // who is champion now shows by itself
    wrong.textContent = (await response.json()).error.message;
  } catch (error) {
    wrong.textContent = String(error);
  } finally {
    confirm.disabled = false;
  }
};
