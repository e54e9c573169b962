// Shows one picture of the gallery: the picture itself, its faces, its times, its answer, and what went wrong.

import { $, announce, make, readable, tell } from "./dom.js";
import { Failure } from "./request.js";

const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

/** A failure in words, with what helps to find it in the log. */
export function explain(element, failure) {
  const isKnown = failure instanceof Failure;
  const parts = [make("strong", {}, isKnown ? failure.message : "Something failed in this page.")];
  const detail = isKnown ? failure.detail : String(failure);
  if (detail) parts.push(make("p", {}, detail));
  if (failure.requestId) parts.push(make("p", { className: "note" }, `Request ${failure.requestId}`));
  element.replaceChildren(...parts);
  element.hidden = false;
}

/** The times of an answer, in words. */
export function times({ timings }, seconds) {
  const parts = `waiting ${milliseconds(timings.queue_ms)}, decoding ${milliseconds(timings.decode_ms)}, `
    + `finding ${milliseconds(timings.detect_ms)}`;
  return `${milliseconds(timings.total_ms)} in the service (${parts}), ${milliseconds(seconds * 1000)} with the network`;
}

/** How many faces, in words. */
export function count({ results }) {
  return results.length === 0 ? "No face" : results.length === 1 ? "1 face" : `${results.length} faces`;
}

/** A request as a command. */
export function command(name, query) {
  const fields = Object.entries(query).map(([option, value]) => ` -F ${option}=${value}`).join("");
  // Within double quotes for curl, to which a comma or a semicolon would be the name's end, and single ones for the shell.
  const told = `"${name.replace(/["\\]/g, "\\$&")}"`;
  const quoted = /^[\w.-]+$/.test(name) ? name : `'${told.replaceAll("'", `'\\''`)}'`;
  return `curl -F image=@${quoted}${fields} ${new URL("predict", document.baseURI)}`;
}

/** Make room for a picture of this size. */
export function frame({ width, height }) {
  $("frame").style.setProperty("--width", width);
  $("frame").style.setProperty("--height", height);
}

export class Stage {
  constructor(overlay) {
    this.overlay = overlay;
    this.drawn = null; // the answer whose faces are drawn
  }

  /** Show another picture. */
  show(picture) {
    this.drawn = null;
    this.overlay.show(null);
    $("shown").hidden = true;
    this.update(picture);
  }

  /** Show what has become of it. */
  update(picture) {
    const { state, answer, failure, waitsFor } = picture;
    const isBusy = state !== "done" && state !== "failed";
    $("stage").setAttribute("aria-busy", isBusy);
    $("progress").hidden = state !== "sending";
    $("progress").value = picture.progress;
    $("retry").hidden = !failure?.mayPass;
    $("save").disabled = $("copy").disabled = state !== "done";
    $("stage").hidden = state === "failed" && !picture.address;
    $("problem").hidden = !failure;
    if (failure && this.failure !== failure) explain($("problem"), failure);
    this.failure = failure;
    $("command").textContent = command(picture.name, picture.query);
    if (state === "retrying") tell($("summary"), `${waitsFor.failure.message} Trying again in ${waitsFor.left} s.`);
    else if (isBusy && !answer) tell($("summary"), { waiting: "Waiting…", sending: "Sending…", searching: "Looking for faces…" }[state]);
    else tell($("summary"), answer ? `${count(answer)} in ${picture.name}` : picture.name);
    this.#picture(picture);
    if (state !== "done") return;
    $("timings").textContent = `${answer.image.width} × ${answer.image.height} pixels, ${times(answer, picture.seconds)}`;
    $("json").textContent = readable(answer);
  }

  #picture(picture) {
    const image = $("shown");
    const { address, answer, name } = picture;
    if (!answer) {
      this.overlay.show(null);
      this.drawn = null;
      $("timings").textContent = $("json").textContent = "";
    }
    if (address && image.src !== address) image.src = address;
    image.hidden = !address;
    image.alt = name;
    if (address) frame(picture.size);
    if (!address || !answer || this.drawn === answer) return;
    this.drawn = answer;
    announce(`${name}: ${count(answer)}`);
    const draw = () => {
      if (this.drawn === answer) this.overlay.show(answer, image);
    };
    // Refused where another picture is to be shown meanwhile, which is then drawn by its own update.
    image.decode().then(draw, draw);
  }
}
