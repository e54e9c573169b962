// Puts the page together: what comes in, which view is shown, what the buttons do.

import { Camera, cameraObstacle } from "./camera.js";
import { $, announce, copy, pause, save, tell } from "./dom.js";
import { Gallery } from "./gallery.js";
import { Models } from "./models.js";
import { chosen, onOptions } from "./options.js";
import { Overlay } from "./overlay.js";
import { json, request } from "./request.js";
import { Stage, command, count, explain, frame, times } from "./stage.js";

const LONGEST_SIDE = 4096; // the most that the service draws
const READY_AGAIN_MILLISECONDS = 3000;

const overlay = new Overlay($("overlay"), $("tip"), $("list"));
const stage = new Stage(overlay);
const gallery = new Gallery($("strip"), {});
const camera = new Camera($("video"), () => chosen() ?? {});
const models = new Models();

// --- pictures ---------------------------------------------------------------------------------------

function take(files) {
  if (!files.length) return;
  if (location.hash === "#models") location.hash = "faces";
  camera.stop();
  gallery.add(files);
}

function showPicture() {
  const picture = gallery.shown;
  document.body.classList.toggle("working", Boolean(picture) || camera.isOn);
  $("work").hidden = !picture && !camera.isOn;
  $("clear").hidden = gallery.pictures.length < 2;
  if (camera.isOn) return;
  if (picture) stage.show(picture);
  else overlay.show(null);
}

function remove(...pictures) {
  gallery.remove(...pictures);
  if (!gallery.shown) $("files").focus();
}

gallery.addEventListener("show", () => {
  if (camera.isOn) camera.stop(); // which shows the picture
  else showPicture();
});
gallery.addEventListener("change", () => {
  if (!camera.isOn) stage.update(gallery.shown);
});

$("files").addEventListener("change", () => {
  take($("files").files);
  $("files").value = ""; // so that the same file can be chosen again
});
addEventListener("paste", (event) => take(event.clipboardData.files));
// A field of a form takes what is dropped on it itself.
const isField = ({ target }) => Boolean(target.closest?.("input, textarea"));
addEventListener("dragover", (event) => {
  if (isField(event)) return;
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  $("drop").classList.remove("over");
  if (isField(event)) return;
  event.preventDefault();
  const { files } = event.dataTransfer;
  tell($("notice"), files.length ? "" : "Only files can be dropped here; a link is never fetched.");
  take(files);
});

$("retry").addEventListener("click", () => gallery.retry(gallery.shown));
$("remove").addEventListener("click", () => remove(gallery.shown));
$("clear").addEventListener("click", () => remove(...gallery.pictures));
$("copy").addEventListener("click", async () => {
  $("answer").open ||= !navigator.clipboard;
  const said = await copy(JSON.stringify(gallery.shown.answer), $("json"));
  tell($("summary"), said);
  announce(said);
});
$("save").addEventListener("click", async () => {
  const { file, name, query } = gallery.shown;
  const drawn = { annotated_longest_side: LONGEST_SIDE, annotated_landmarks: $("marks").checked };
  const options = { query: { ...query, ...drawn }, body: file, type: "application/octet-stream" };
  try {
    const { blob } = await request("POST", "predict/annotated", options);
    save(blob, `${name.replace(/\.\w+$/, "")} with boxes.jpg`);
  } catch (failure) {
    explain($("problem"), failure);
  }
});

onOptions((query) => {
  gallery.query = query;
  if (gallery.shown) gallery.again(query);
});
$("marks").addEventListener("change", () => $("frame").classList.toggle("unmarked", !$("marks").checked));

// --- camera -----------------------------------------------------------------------------------------

function showCamera(isOn) {
  document.body.classList.toggle("filming", isOn);
  for (const id of ["video", "camera-take", "camera-stop"]) $(id).hidden = !isOn;
  for (const id of ["save", "copy", "remove"]) $(id).hidden = isOn;
  $("camera-start").disabled = isOn;
  if (!isOn) return showPicture();
  for (const id of ["shown", "retry", "problem", "progress"]) $(id).hidden = true;
  $("stage").hidden = false;
  frame({ width: $("video").videoWidth, height: $("video").videoHeight });
  overlay.show(null);
  showPicture();
}

camera.addEventListener("frame", ({ answer, seconds }) => {
  overlay.show(answer);
  tell($("summary"), count(answer));
  $("timings").textContent = times(answer, seconds);
});
camera.addEventListener("wait", ({ left, failure }) => tell($("summary"), `${failure.message} Trying again in ${left} s.`));
camera.addEventListener("end", ({ failure }) => {
  showCamera(false);
  announce("The camera is off.");
  if (failure) tell($("camera-note"), failure.message);
});
$("camera-start").addEventListener("click", async () => {
  tell($("camera-note"), "");
  try {
    await camera.start();
    if (!camera.isOn) return;
    showCamera(true);
    announce("The camera is on.");
  } catch (error) {
    tell($("camera-note"), error.message);
  }
});
$("camera-stop").addEventListener("click", () => camera.stop());
$("camera-take").addEventListener("click", async () => take([await camera.frame()]));
if (cameraObstacle()) {
  $("camera-start").disabled = true;
  tell($("camera-note"), cameraObstacle());
}

// --- the page itself --------------------------------------------------------------------------------

function showView() {
  const isModels = location.hash === "#models";
  $("faces").hidden = isModels;
  $("models").hidden = !isModels;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === (location.hash || "#faces")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!isModels) return;
  camera.stop();
  models.open();
}

addEventListener("hashchange", showView);
addEventListener("pagehide", () => camera.stop());
showView();

/** Say so while the service is not ready. */
async function watchReadiness() {
  for (;;) {
    try {
      await request("GET", "readyz");
      return tell($("notice"), "");
    } catch (failure) {
      tell($("notice"), failure.message);
      await pause(READY_AGAIN_MILLISECONDS, new AbortController().signal);
    }
  }
}

async function showVersion() {
  $("version").textContent = (await json(await request("GET", "version"))).version;
}

$("example").textContent = command("photo.jpg", {});
watchReadiness();
showVersion().catch((failure) => tell($("notice"), failure.message));
