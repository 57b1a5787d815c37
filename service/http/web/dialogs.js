// Dialogs: a title, a form and buttons. Escape closes; focus returns to where it was.

import { button, h, newId } from "./dom.js";

/**
 * Opens a dialog.
 * @param {{title: string, body: Array, submit: string, kind?: string, onSubmit: () => Promise<boolean|void>}} options
 *   `onSubmit` returns false to keep the dialog open; errors it throws appear in the dialog.
 * @returns {{close: () => void, form: HTMLFormElement, confirm: HTMLButtonElement}}
 */
export function openDialog({ title, body, submit, kind = "primary", onSubmit }) {
  const titleId = newId("dialog");
  const failure = h("div", { role: "alert", class: "failure" });
  const confirm = h("button", { type: "submit", class: kind }, submit);
  const dialog = h("dialog", { "aria-labelledby": titleId });
  const form = h(
    "form",
    { autocomplete: "off" },
    h("h2", { id: titleId }, title),
    body,
    failure,
    h(
      "div",
      { class: "row end" },
      button("Cancel", () => dialog.close(), "quiet"),
      confirm,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    failure.replaceChildren();
    confirm.disabled = true;
    try {
      if ((await onSubmit()) !== false) dialog.close();
    } catch (error) {
      failure.replaceChildren(
        h(
          "p",
          {},
          h("strong", {}, error.title ?? "Something went wrong"),
          " ",
          error.detail ?? error.message,
        ),
      );
    } finally {
      confirm.disabled = false;
    }
  });
  dialog.append(form);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return { close: () => dialog.close(), form, confirm };
}

/** Whether a dialog is open. */
export function anyDialog() {
  return document.querySelector("dialog[open]") !== null;
}
