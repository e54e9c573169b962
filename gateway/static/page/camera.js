// The camera: one frame after the other goes to the service, and the faces of the last one are drawn over the video.

import { make } from "./dom.js";
import { json, patiently, request } from "./request.js";

const QUALITY = 0.85;
const WIDTH = 960;

const REFUSED = {
  NotAllowedError: "The browser may not use the camera. Allow it for this page, and try again.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is used by another program.",
};

/** Why there can be no camera on this page, in words; empty where there can. */
export function cameraObstacle() {
  if (!isSecureContext) return "The camera can be used over HTTPS, or on this machine itself (localhost), only.";
  return navigator.mediaDevices?.getUserMedia ? "" : "This browser has no access to a camera.";
}

/**
 * Dispatches "frame" with `answer` and `seconds` when a frame was answered, "wait" with `left` and `failure` while the
 * service is busy, and "end", with `failure` where it was not stopped.
 */
export class Camera extends EventTarget {
  #running = null;

  constructor(video, query) {
    super();
    this.video = video;
    this.query = query; // gives the options of the next frame
  }

  get isOn() {
    return this.#running !== null;
  }

  /** Begin; throws an Error with words for a person where there is no camera. */
  async start() {
    if (this.isOn) return;
    const running = new AbortController();
    this.#running = running;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: WIDTH }, facingMode: "user" } });
    } catch (error) {
      if (this.#running === running) this.#running = null;
      throw new Error(REFUSED[error.name] ?? `The camera cannot be used: ${error.message}`);
    }
    const release = () => stream.getTracks().forEach((track) => track.stop());
    running.signal.addEventListener("abort", release);
    if (running.signal.aborted) return release(); // stopped while the user was asked
    stream.getVideoTracks()[0].addEventListener("ended", () => this.stop());
    this.video.srcObject = stream;
    await this.video.play();
    this.#follow(running.signal);
  }

  /** End, and let go of the camera. */
  stop(failure = null) {
    if (!this.isOn) return;
    this.#running.abort();
    this.#running = null;
    this.video.srcObject = null;
    this.dispatchEvent(Object.assign(new Event("end"), { failure }));
  }

  /** What the camera sees now, as a file. */
  async frame() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
    const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
    return new File([blob], `camera ${time}.jpg`, { type: blob.type });
  }

  async #follow(signal) {
    try {
      while (!signal.aborted) {
        // Not while the page is in the background.
        await new Promise(requestAnimationFrame);
        const [query, body] = [this.query(), await this.frame()];
        const send = () => request("POST", "predict", { query, body, type: "application/octet-stream", signal });
        const answered = await patiently(send, signal, (left, failure) => this.#tell("wait", { left, failure }));
        const answer = await json(answered);
        if (!signal.aborted) this.#tell("frame", { answer, seconds: answered.seconds });
      }
    } catch (error) {
      if (!signal.aborted) this.stop(error);
    }
  }

  #tell(name, facts) {
    this.dispatchEvent(Object.assign(new Event(name), facts));
  }
}
