// Helpers for the document. Whatever comes from outside is set as text, never as HTML.

const LONGEST_SHOWN = 200;

export const $ = (id) => document.getElementById(id);

/** An element with these properties, or attributes where it has no such property. */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** The same for SVG, which has attributes only. */
export function makeSvg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Show a text, or hide its element where there is none. */
export function tell(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

/** Have a screen reader say this. */
export function announce(text) {
  $("news").textContent = text;
}

/** JSON for people: files in it, which are long texts, are cut. */
export function readable(value) {
  const cut = (_, one) =>
    typeof one === "string" && one.length > LONGEST_SHOWN
      ? `${one.slice(0, 40)}… (${one.length.toLocaleString("en")} characters)`
      : one;
  return JSON.stringify(value, cut, 2);
}

/** Copy a text. Without HTTPS browsers leave that to the user, for whom the shown text is selected. */
export async function copy(text, shown) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return "Copied.";
  }
  getSelection().selectAllChildren(shown);
  return "Selected: copy it with Ctrl+C.";
}

/** Offer a file for saving. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Resolves after this time; rejects as soon as the signal is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
  });
}
