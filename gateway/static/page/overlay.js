// Boxes and landmarks over a picture, in the picture's own coordinates, and the list of the faces beside it.

import { make, makeSvg } from "./dom.js";

const CROP_PIXELS = 48;
const MOST_LISTED = 200;
const SMALL_PIXELS = 48;
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

const percent = (share) => `${(Math.floor(share * 10_000) / 100).toFixed(2)} %`; // 100 only where it is

/** What a person wants to know of a face of an answer. */
function facts({ box: { upLeft, lowerRight }, confidence }) {
  const [width, height] = [lowerRight.x - upLeft.x, lowerRight.y - upLeft.y];
  return { x: upLeft.x, y: upLeft.y, width, height, size: `${Math.round(width)} × ${Math.round(height)} px`, confidence };
}

/** The faces of one picture at a time. Arrow keys move among them, since hundreds would be too many for Tab. */
export class Overlay {
  #faces = [];
  #current = 0;

  constructor(svg, tip, list) {
    [this.svg, this.tip, this.list] = [svg, tip, list];
    svg.addEventListener("keydown", (event) => this.#move(event));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#leave();
    });
  }

  /**
   * @param answer With `results` and `image`; null for nothing.
   * @param source What the small pictures of the list are cut from; null for none.
   */
  show(answer, source = null) {
    this.#leave();
    this.#faces = answer?.results ?? [];
    this.#current = 0;
    const { width, height } = answer?.image ?? { width: 1, height: 1 };
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("aria-label", `Faces: ${this.#faces.length}. Arrow keys move among them.`);
    const scale = this.svg.clientWidth / width;
    this.svg.replaceChildren(...this.#faces.map((face, index) => this.#box(face, index, scale)));
    const listed = this.#faces.slice(0, MOST_LISTED);
    this.list.replaceChildren(...listed.map((face, index) => this.#row(face, index, source, width)));
    const more = this.#faces.length - listed.length;
    if (more > 0) this.list.append(make("li", { className: "note" }, `and ${more} more`));
  }

  #box(face, index, scale) {
    const { x, y, width, height, size, confidence } = facts(face);
    const points = Object.values(face.landmarks).map((point) => `M${point.x} ${point.y}h.001`).join("");
    const group = makeSvg(
      "g",
      {
        class: width * scale < SMALL_PIXELS ? "face small" : "face",
        role: "img",
        tabindex: index === 0 ? 0 : -1,
        "aria-label": `Face ${index + 1} of ${this.#faces.length}: confidence ${percent(confidence)}, ${size}`,
      },
      ...["under", "line"].flatMap((name) => [
        makeSvg("rect", { class: name, x, y, width, height }),
        makeSvg("path", { class: `${name} mark`, d: points }),
      ]),
    );
    group.addEventListener("pointerenter", () => this.#enter(index));
    group.addEventListener("pointerleave", () => this.#leave());
    group.addEventListener("focus", () => this.#enter(index));
    group.addEventListener("blur", () => this.#leave());
    return group;
  }

  #row(face, index, source, pictureWidth) {
    const { size, confidence } = facts(face);
    const row = make("li", {}, make("b", {}, percent(confidence)), ` ${size}`);
    if (source) row.prepend(crop(source, facts(face), pictureWidth));
    row.addEventListener("pointerenter", () => this.#enter(index));
    row.addEventListener("pointerleave", () => this.#leave());
    return row;
  }

  #move(event) {
    const last = this.#faces.length - 1;
    const places = { Home: 0, End: last };
    const index = places[event.key] ?? this.#current + (STEPS[event.key] ?? NaN);
    if (!(index >= 0 && index <= last)) return;
    event.preventDefault();
    this.svg.children[this.#current].setAttribute("tabindex", -1);
    this.svg.children[index].setAttribute("tabindex", 0);
    this.svg.children[index].focus();
    this.#current = index;
  }

  #enter(index) {
    this.#leave();
    const { x, y, width, height, size, confidence } = facts(this.#faces[index]);
    for (const one of [this.svg.children[index], this.list.children[index]]) one?.classList.add("active");
    this.tip.textContent = `Face ${index + 1}: ${percent(confidence)}, ${size}`;
    this.tip.hidden = false;
    const { width: across, height: down } = this.svg.viewBox.baseVal;
    const { clientWidth, clientHeight } = this.svg;
    const half = this.tip.offsetWidth / 2;
    const middle = ((x + width / 2) / across) * clientWidth;
    const above = (y / down) * clientHeight - this.tip.offsetHeight - 6;
    const below = ((y + height) / down) * clientHeight + 6;
    this.tip.style.left = `${Math.max(half, Math.min(middle, clientWidth - half))}px`;
    this.tip.style.top = `${above >= 0 ? above : Math.min(below, clientHeight - this.tip.offsetHeight)}px`;
  }

  #leave() {
    this.tip.hidden = true;
    for (const one of [...this.svg.children, ...this.list.children]) one.classList.remove("active");
  }
}

/** A face, cut out of a picture that may be shown in another size than it has. */
function crop(source, { x, y, width, height }, pictureWidth) {
  const canvas = make("canvas", { width: CROP_PIXELS, height: CROP_PIXELS, "aria-hidden": "true" });
  const scale = source.naturalWidth / pictureWidth;
  const side = Math.max(width, height);
  const [left, top] = [x + (width - side) / 2, y + (height - side) / 2];
  const place = [left, top, side, side].map((value) => value * scale);
  canvas.getContext("2d").drawImage(source, ...place, 0, 0, CROP_PIXELS, CROP_PIXELS);
  return canvas;
}
