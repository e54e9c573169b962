// One picture: what the browser can show of it, and what the service found in it.

import { make } from "./dom.js";
import { json, patiently, request } from "./request.js";

const THUMBNAIL_PIXELS = 72;

/** What a failure or a picture in work says of itself, such as for a list. */
const WORDS = { waiting: "waiting", sending: "sending", searching: "searching", retrying: "waiting", failed: "failed" };

/**
 * Dispatches "change" whenever its state has changed.
 *
 * state: waiting, sending, searching, retrying, done or failed. `answer` and `failure` are of the last search, and
 * `answer` is kept while the next one runs.
 */
export class Picture extends EventTarget {
  state = "waiting";
  progress = 0; // of the upload, 0 to 1
  waitsFor = null; // seconds, and the failure that is waited out
  answer = null;
  failure = null;
  seconds = 0; // from request to answer
  query = {}; // of the last search
  thumbnail = null; // a canvas
  address = ""; // of what an <img> can show; empty where nothing can be shown yet
  size = null; // of the upright picture
  #running = null;
  #isOwn = null; // a promise: whether the file itself is shown, and not what the service has drawn

  constructor(file) {
    super();
    this.file = file;
    this.name = file.name || "pasted picture";
  }

  /** A few words. */
  get words() {
    if (this.state !== "done") return WORDS[this.state];
    const { length } = this.answer.results;
    return length === 0 ? "no face" : length === 1 ? "1 face" : `${length} faces`;
  }

  /** Find its faces; a search that still runs is given up. */
  async find(query) {
    this.stop();
    const running = new AbortController();
    this.#running = running;
    this.query = query;
    this.#change("sending", { progress: 0, failure: null });
    try {
      await this.#search(query, running.signal);
      this.#change("done");
    } catch (error) {
      if (running.signal.aborted) return;
      this.#change("failed", { failure: error, answer: null });
    }
  }

  /** Give up the search that runs. */
  stop() {
    this.#running?.abort();
  }

  /** Let go of what the browser keeps for it. */
  release() {
    this.stop();
    URL.revokeObjectURL(this.address);
  }

  async #search(query, signal) {
    this.#isOwn ??= this.#prepare();
    const isOwn = await this.#isOwn;
    const asked = isOwn ? query : { ...query, include: "annotated" };
    const { annotated, ...answer } = await this.#ask(asked, signal);
    if (isOwn && !(await this.#isShownAlike(answer.image))) {
      this.#isOwn = Promise.resolve(false);
      return this.#search(query, signal);
    }
    if (!isOwn) await this.#take(annotated, signal);
    signal.throwIfAborted();
    this.size = answer.image;
    this.answer = answer;
  }

  /** Whether the browser turns the file as the service does. It does for JPEG; for others it may not look at EXIF. */
  async #isShownAlike({ width, height, exif_orientation: orientation }) {
    if (this.size.width !== width || this.size.height !== height) return false;
    if (orientation === 1) return true;
    const [first, second] = new Uint8Array(await this.file.slice(0, 2).arrayBuffer());
    return first === 0xff && second === 0xd8;
  }

  async #ask(query, signal) {
    const answered = await patiently(
      () => request("POST", "predict", {
        query,
        body: this.file,
        type: "application/octet-stream",
        signal,
        onUpload: (progress) => this.#change(progress < 1 ? "sending" : "searching", { progress }),
      }),
      signal,
      (left, failure) => this.#change("retrying", { waitsFor: { left, failure } }),
    );
    signal.throwIfAborted();
    this.seconds = answered.seconds;
    return json(answered);
  }

  /** Show the file itself; false where the browser cannot. */
  async #prepare() {
    const address = URL.createObjectURL(this.file);
    const image = await decoded(address);
    if (image) this.#display(address, image);
    else URL.revokeObjectURL(address);
    return Boolean(image);
  }

  /** Show the picture that the service has drawn. */
  async #take({ data, media_type: type }, signal) {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const address = URL.createObjectURL(new Blob([bytes], { type }));
    const image = await decoded(address);
    signal.throwIfAborted();
    URL.revokeObjectURL(this.address);
    this.#display(address, image);
  }

  #display(address, image) {
    this.address = address;
    this.size = { width: image.naturalWidth, height: image.naturalHeight };
    const scale = THUMBNAIL_PIXELS / Math.min(image.naturalWidth, image.naturalHeight);
    const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
    const canvas = make("canvas", { width: THUMBNAIL_PIXELS, height: THUMBNAIL_PIXELS });
    const place = [(THUMBNAIL_PIXELS - width) / 2, (THUMBNAIL_PIXELS - height) / 2, width, height];
    canvas.getContext("2d").drawImage(image, ...place);
    this.thumbnail = canvas;
  }

  #change(state, others = {}) {
    Object.assign(this, { state, ...others });
    this.dispatchEvent(new Event("change"));
  }
}

/** The image at this address; null where the browser cannot show it. */
async function decoded(address) {
  const image = new Image();
  image.src = address;
  try {
    await image.decode();
  } catch {
    return null;
  }
  return image;
}
