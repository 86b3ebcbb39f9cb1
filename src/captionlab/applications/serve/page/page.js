// The page: a picture comes in, it is asked about, the result is shown and remembered.

import { Failure, caption, model as askModel, useToken } from "./api.js";
import { paint } from "./attention.js";
import { $, element } from "./dom.js";
import * as history from "./history.js";
import { draw, filesOf, open, size } from "./picture.js";
import { isUnsure, showResult } from "./result.js";
import { altText, canRead, copy, read, stop, whenVoicesChange } from "./speech.js";
import { offer, wording } from "./wording.js";

const NUM_CAPTIONS = 4;
const SLOW = 6000; // milliseconds until the page says that it takes long

let model = null; // what /v1/models tells
let offersWording = false; // whether language, style or beginning can be chosen
let picture = null; // the one that is shown
let entry = null; // the result that is shown
let job = null; // what is under way
let again = () => {}; // what "Try again" does

/** Do something that may fail. What is newer ends what is older without a word. */
async function attempt(work) {
  job?.abort();
  const started = job = Object.assign(new AbortController(), { work });
  stop();
  hideFailure();
  try {
    await work(started.signal);
  } catch (error) {
    if (!started.signal.aborted) fail(error, () => attempt(work));
  }
  if (job !== started) return;
  job = null;
  show(entry ? "answer" : "welcome");
}

async function loadModel() {
  if (model) return;
  model = await askModel();
  $("model").textContent = model.id;
  offersWording = offer(model.captionlab);
}

const take = (files) => files.length && attempt(async (signal) => {
  wait("Opening your picture …");
  const opened = await open(files[0], model?.captionlab.max_bytes);
  signal.throwIfAborted();
  entry = null;
  showHistory();
  await showPicture(opened);
  if (files.length > 1) $("facts").textContent += `; the first of ${files.length} files`;
  await describe(signal);
});

async function describe(signal, question = "") {
  signal.throwIfAborted();
  wait(question ? "Looking for an answer …" : "Looking at your picture …");
  await loadModel();
  const { attention = false, languages = [], decoding } = model.captionlab;
  const count = Math.min(NUM_CAPTIONS, decoding?.max_captions ?? NUM_CAPTIONS);
  const asked = question ? { language: wording().language, question } : wording();
  const captions = await caption(
    picture.blob, { ...asked, num_captions: count, attention }, signal,
  );
  const language = asked.language || (languages[0] ?? "");
  if (question) $("question").value = "";
  showEntry(history.remember({ captions, picture, question, language, chosen: 0 }));
}

async function showPicture(opened) {
  picture = opened;
  paint($("attention"), null);
  $("frame").style.setProperty("--ratio", opened.width / opened.height);
  $("frame").classList.add("filled");
  $("picture").hidden = false;
  $("picture").setAttribute("aria-label", "Your picture");
  $("invitation").hidden = true;
  const sent = opened.blob.size < opened.bytes ? `, sent as ${size(opened.blob.size)}` : "";
  $("facts").textContent = `${opened.width} × ${opened.height}, ${size(opened.bytes)}${sent}`;
  const bitmap = await createImageBitmap(opened.blob);
  if (picture === opened) draw($("picture"), bitmap);
}

function showEntry(next) {
  entry = next;
  showResult(entry, model.captionlab, (index) => {
    entry.chosen = index;
    showEntry(entry);
    $("captions").children[index].firstChild.focus();
  });
  showHistory();
  offerReading();
}

function showHistory() {
  const count = history.list($("entries"), entry, reopen);
  $("history").hidden = count < (entry ? 2 : 1);
}

const reopen = (earlier) => attempt(async (signal) => {
  await showPicture(earlier.picture);
  signal.throwIfAborted();
  showEntry(earlier);
  $("result").focus();
});

function show(state) {
  for (const id of ["welcome", "waiting", "answer"]) $(id).hidden = id !== state;
  $("result").ariaBusy = String(state === "waiting");
  $("frame").classList.toggle("looking", state === "waiting");
  $("question-form").hidden = !(picture && model?.captionlab.questions);
  $("wording-form").hidden = !(picture && offersWording);
  $("choose").textContent = picture ? "Choose another" : "Choose a picture";
}

function wait(text) {
  const tell = (words) => { $("waiting-text").textContent = $("live").textContent = words; };
  const mine = job;
  tell(text);
  show("waiting");
  setTimeout(() => job === mine && tell("Still looking: the server is slow or busy …"), SLOW);
}

function fail(error, retry = null) {
  const known = error instanceof Failure;
  again = retry;
  $("failure-text").replaceChildren(
    element("strong", { textContent: known ? error.title : "Something went wrong on this page" }),
    element("p", { textContent: error.message }),
  );
  $("live").textContent = "";
  $("failure").hidden = false;
  $("token-form").hidden = error.status !== 401;
  $("retry").hidden = !retry || error.again === false || error.status === 401;
}

function hideFailure() {
  // who pressed a button that vanishes goes on from the result
  if ($("failure").contains(document.activeElement)) $("result").focus();
  $("failure").hidden = true;
  $("failure-text").replaceChildren();
}

function offerReading() {
  if (entry) $("read").hidden = !canRead(entry.language || "en", model.captionlab.speech);
}

const chosen = () => entry.captions[entry.chosen];

async function readAloud() {
  if ($("read").classList.contains("reading")) return stop();
  hideFailure();
  $("read").classList.add("reading");
  $("read").textContent = "Stop reading";
  const language = entry.language || "en";
  // who only listens hears the doubt as well; it is in English
  const unsure = language === "en" && isUnsure(chosen(), model.captionlab);
  const doubt = unsure ? "I am not sure. My best guess: " : "";
  await read(doubt + altText(chosen().text), language).catch((error) => fail(error, readAloud));
  $("read").classList.remove("reading");
  $("read").textContent = "Read aloud";
}

async function copyCaption() {
  await copy(altText(chosen().text)).then(
    () => { $("copied").textContent = "Copied"; },
    () => { $("copied").textContent = "Your browser did not allow it"; },
  );
}

function cancel() {
  const { work } = job;
  job.abort();
  $("result").focus();
  fail(new Failure("Canceled", "No caption was written."), () => attempt(work));
}

function forget() {
  history.forgetAllBut(entry);
  showHistory();
  $("result").focus();
}

function drop(event) {
  document.body.classList.remove("dropping");
  const files = filesOf(event.dataTransfer);
  if (files.length) return take(files);
  fail(new Failure("No file was dropped", "Save the picture and drop its file: links are not followed."));
}

function on(target, type, action) {
  target.addEventListener(type, (event) => {
    if (type !== "paste") event.preventDefault();
    action(event);
  });
}

for (const [button, input] of [["choose", "file"], ["photograph", "camera"]]) {
  on($(button), "click", () => $(input).click());
  on($(input), "change", () => {
    take([...$(input).files]);
    $(input).value = ""; // the same file may be chosen again
  });
}
on(document, "paste", (event) => take(filesOf(event.clipboardData)));
on(document, "dragover", () => document.body.classList.add("dropping"));
on(document, "dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
on(document, "drop", drop);
on($("cancel"), "click", cancel);
on($("retry"), "click", () => again());
on($("copy"), "click", copyCaption);
on($("read"), "click", readAloud);
on($("forget"), "click", forget);
on($("question-form"), "submit", () => {
  const question = $("question").value.trim();
  if (question) attempt((signal) => describe(signal, question));
});
on($("wording-form"), "submit", () => attempt((signal) => describe(signal)));
on($("token-form"), "submit", () => {
  useToken($("token").value);
  $("token").value = "";
  again();
});
whenVoicesChange(offerReading);
attempt(loadModel);
