// The pictures that were given, the strip that shows them, and the order in which their faces are searched.

import { make } from "./dom.js";
import { Picture } from "./picture.js";

const AT_ONCE = 3;

/**
 * Dispatches "show" when another picture is to be shown, or none, and "change" when the shown one has changed.
 */
export class Gallery extends EventTarget {
  shown = null;
  #buttons = new Map(); // by picture, in order
  #waiting = new Set();
  #running = 0;

  constructor(strip, query) {
    super();
    this.strip = strip;
    this.query = query;
  }

  get pictures() {
    return [...this.#buttons.keys()];
  }

  /** Take files, and show the first of them. */
  add(files) {
    const pictures = [...files].map((file) => new Picture(file));
    for (const picture of pictures) {
      const button = make("button", { type: "button", className: "thumbnail", title: picture.name });
      button.addEventListener("click", () => this.show(picture));
      this.#buttons.set(picture, button);
      picture.addEventListener("change", () => this.#changed(picture));
      this.strip.append(make("li", {}, button));
      this.#label(picture);
    }
    this.strip.hidden = this.#buttons.size < 2;
    this.#search(pictures);
    if (pictures.length) this.show(pictures[0]);
  }

  show(picture) {
    this.shown = picture;
    for (const [each, button] of this.#buttons) button.setAttribute("aria-current", each === picture);
    this.#buttons.get(picture)?.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.dispatchEvent(new Event("show"));
  }

  /** Search all of them again, first the one that is shown. */
  again(query) {
    this.query = query;
    for (const picture of this.pictures) picture.stop();
    this.#search([this.shown, ...this.pictures].filter(Boolean));
  }

  /** Search one of them again. */
  retry(picture) {
    this.#search([picture]);
  }

  remove(...pictures) {
    const left = this.pictures.filter((picture) => !pictures.includes(picture));
    for (const picture of pictures) {
      picture.release();
      this.#waiting.delete(picture);
      this.#buttons.get(picture).parentElement.remove();
      this.#buttons.delete(picture);
    }
    this.strip.hidden = left.length < 2;
    this.show(left.at(-1) ?? null);
  }

  #search(pictures) {
    for (const picture of pictures) this.#waiting.add(picture);
    while (this.#running < AT_ONCE && this.#waiting.size) this.#begin();
  }

  #begin() {
    const [picture] = this.#waiting;
    this.#waiting.delete(picture);
    this.#running += 1;
    picture.find(this.query).finally(() => {
      this.#running -= 1;
      this.#search([]);
    });
  }

  #changed(picture) {
    this.#label(picture);
    if (picture === this.shown) this.dispatchEvent(new Event("change"));
  }

  #label(picture) {
    const button = this.#buttons.get(picture);
    const words = make("span", { className: picture.state }, picture.words);
    const blank = make("span", { className: "blank" }, picture.state === "failed" ? "!" : "…");
    button.replaceChildren(picture.thumbnail ?? blank, words);
    button.setAttribute("aria-label", `${picture.name}: ${picture.words}`);
  }
}
