// The key that the service demands of its callers, where it does: asked for once, kept for this tab alone.

import { $, tell } from "./dom.js";

const NAME = "facet-key";

let asked = null;

/** The key; empty where none was given. */
export const key = () => sessionStorage.getItem(NAME) ?? "";

/**
 * Ask for a key, once for all requests that need it.
 *
 * @param why Is told the user.
 * @returns {Promise<boolean>} Whether one was given.
 */
export function askForKey(why) {
  tell($("key-why"), why);
  asked ??= new Promise((resolve) => {
    $("key-value").value = "";
    $("key").returnValue = "";
    $("key").addEventListener("close", () => resolve($("key").returnValue === "given"), { once: true });
    $("key").showModal();
  }).finally(() => (asked = null));
  return asked;
}

function showForget() {
  $("key-forget").hidden = !key();
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(NAME, $("key-value").value.trim());
  showForget();
  $("key").close("given");
});
$("key-cancel").addEventListener("click", () => $("key").close());
$("key-forget").addEventListener("click", () => {
  sessionStorage.removeItem(NAME);
  showForget();
});
showForget();
