// The one way to the service: each request of the page is made by `request`, and each failure is a `Failure`.

import { pause } from "./dom.js";
import { askForKey, key } from "./key.js";

const PATIENCE_SECONDS = 60; // waits in a queue rather than being refused
const MOST_TRIES = 6;
const TRY_AGAIN = new Set([429, 503]);
const WANTS_KEY = new Set(["KEY_MISSING", "KEY_UNKNOWN"]);

const TITLES = {
  BACKEND_UNAVAILABLE: "The service is starting, or away.",
  BODY_TOO_LARGE: "The file is too large.",
  BODY_TOO_SLOW: "The upload stopped, or was too slow.",
  BROKEN_IMAGE: "The picture is damaged or incomplete.",
  DEADLINE_EXCEEDED: "This took too long. A larger smallest face, or a smaller picture, helps.",
  FILE_UNREADABLE: "The file cannot be read. It may be a folder, or have changed.",
  GATEWAY_BUSY: "The service is busy.",
  IMAGE_EMPTY: "The file is empty.",
  IMAGE_TOO_LARGE: "The file is too large.",
  INTERNAL: "Something failed in the service.",
  KEYS_UNAVAILABLE: "The service cannot read its keys.",
  KEY_LACKS_SCOPE: "This key is not for models.",
  KEY_MISSING: "The service wants a key.",
  KEY_UNKNOWN: "The service does not know this key.",
  INVALID_INPUT: "The model does not take this input.",
  MODEL_FAILED: "The model failed.",
  MODEL_NOT_FOUND: "There is no such model any more.",
  MODEL_NOT_READY: "The model is not ready.",
  PYRAMID_TOO_LARGE: "The picture is too large for such small faces. Look for larger ones.",
  QUEUE_FULL: "The service is busy.",
  RATE_LIMITED: "This key has made all the requests that it may make for now.",
  TOO_MANY_CANDIDATES: "Too much in the picture looks like a face. Raise the scores or the smallest face.",
  TOO_MANY_PIXELS: "The picture has too many pixels. Send it reduced.",
  UNREACHABLE: "The service cannot be reached.",
  UNSUPPORTED_IMAGE_FORMAT: "This is no picture, or in a format that is not accepted.",
  WORKER_CRASHED: "This picture cannot be processed.",
};

/** A request that was not answered as it should be. */
export class Failure extends Error {
  /** @param problem The service's problem document, or its members that are known. */
  constructor(problem, retryAfter = null) {
    super(TITLES[problem.reason] ?? problem.title ?? "The service answered with an error.");
    this.reason = problem.reason;
    this.detail = problem.detail ?? "";
    this.field = problem.field ?? "";
    this.requestId = problem.request_id ?? "";
    this.mayPass = !(problem.status < 500) || problem.status === 401 || problem.status === 429;
    this.retryAfter = retryAfter;
  }
}

/**
 * Send a request; where the service wants a key, with the one that the user gives.
 *
 * @param path Relative to the page.
 * @param onUpload Is told the part of the body that was sent, 0 to 1.
 * @returns {Promise<{blob: Blob, header: (name: string) => string | null, seconds: number}>}
 */
export async function request(method, path, options = {}) {
  for (;;) {
    const used = key();
    try {
      return await send(method, path, used, options);
    } catch (error) {
      if (!WANTS_KEY.has(error.reason)) throw error;
      // Another request may have brought a key since.
      if (used === key() && !(await askForKey(error.message))) throw error;
    }
  }
}

function send(method, path, shown, { query = {}, body = null, type = "", signal = null, onUpload = null }) {
  const address = new URL(path, document.baseURI);
  address.search = new URLSearchParams(query);
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const call = new XMLHttpRequest();
    const began = performance.now();
    call.open(method, address);
    call.responseType = "blob";
    call.setRequestHeader("X-Request-Timeout", PATIENCE_SECONDS);
    if (type) call.setRequestHeader("Content-Type", type);
    if (shown) call.setRequestHeader("Authorization", `Bearer ${shown}`);
    if (onUpload) call.upload.onprogress = ({ loaded, total }) => onUpload(total ? loaded / total : 1);
    call.onload = () => {
      const seconds = (performance.now() - began) / 1000;
      const header = (name) => call.getResponseHeader(name);
      if (call.status < 300) resolve({ blob: call.response, header, seconds });
      else failure(call).then(reject);
    };
    call.onerror = () => unreachable(body).then(reject);
    call.onabort = () => reject(signal.reason);
    const abort = () => call.abort();
    signal?.addEventListener("abort", abort);
    call.onloadend = () => signal?.removeEventListener("abort", abort); // or the signal would keep each frame
    call.send(body);
  });
}

/** The answer as JSON. */
export async function json(answer) {
  return JSON.parse(await answer.blob.text());
}

/**
 * Send again, after the time that the service names, what it is too busy for or away from.
 *
 * @param onWait Is told, each second, how many seconds are left, and why.
 */
export async function patiently(send, signal, onWait) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof Failure) || error.retryAfter === null || tried === MOST_TRIES) throw error;
      for (let left = error.retryAfter; left > 0; left -= 1) {
        onWait(left, error);
        await pause(1000, signal);
      }
    }
  }
}

async function failure(call) {
  const text = await call.response.text();
  let problem = { status: call.status, title: `The service answered ${call.status} ${call.statusText}.` };
  try {
    problem = JSON.parse(text);
  } catch {
    // A proxy on the way answers in its own words, which are not for this page.
  }
  const named = Number(call.getResponseHeader("Retry-After"));
  return new Failure(problem, TRY_AGAIN.has(call.status) && named > 0 ? named : null);
}

/** Why a request had no answer: a file that cannot be read looks to the browser like a service that is away. */
async function unreachable(body) {
  try {
    if (body instanceof Blob) await body.slice(0, 1).arrayBuffer();
  } catch {
    return new Failure({ reason: "FILE_UNREADABLE" });
  }
  return new Failure({ reason: "UNREACHABLE", detail: "Is it running, and is this device connected?" });
}
