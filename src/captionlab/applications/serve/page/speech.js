// Read aloud and copy. A voice of this device is preferred, then the server's; never a voice of a
// third party, to whom the browser would send the text.

import { speech } from "./api.js";

const voiceOf = (language) => globalThis.speechSynthesis?.getVoices()
  .find((voice) => voice.localService && voice.lang.toLowerCase().startsWith(language));

let audio = null;
let stopPlaying = null;
let turn = 0; // counts what was asked to be read; what is fetched for an earlier turn stays silent

/** Return whether a text of this language can be read aloud. */
export function canRead(language, serverSpeaks) {
  return Boolean(serverSpeaks || voiceOf(language));
}

/** Call back when the browser has loaded its voices, which it does late. */
export function whenVoicesChange(callback) {
  globalThis.speechSynthesis?.addEventListener("voiceschanged", callback);
}

/** Read a text aloud; resolves when it has ended or was stopped. */
export async function read(text, language) {
  stop();
  const mine = turn;
  const voice = voiceOf(language);
  if (voice) return speakHere(text, voice);
  audio ??= new AudioContext(); // within the click, or the browser keeps it silent
  const buffer = await audio.decodeAudioData(await speech(text, language));
  if (mine === turn) await play(buffer);
}

/** Stop reading. */
export function stop() {
  turn += 1;
  globalThis.speechSynthesis?.cancel();
  stopPlaying?.();
}

function speakHere(text, voice) {
  return new Promise((done) => {
    const utterance = Object.assign(new SpeechSynthesisUtterance(text), { voice, lang: voice.lang });
    utterance.onend = utterance.onerror = done;
    stopPlaying = done;
    speechSynthesis.speak(utterance);
  });
}

function play(buffer) {
  return new Promise((done) => {
    const source = Object.assign(audio.createBufferSource(), { buffer, onended: done });
    source.connect(audio.destination);
    stopPlaying = () => source.stop();
    source.start();
  });
}

/** Return a caption as the sentence of an alt text: first letter large, a period at the end. */
export function altText(caption) {
  const text = caption.trim().replace(/^\p{Ll}/u, (letter) => letter.toUpperCase());
  return /[.!?。！？]$/u.test(text) ? text : text + (/\p{Script=Han}$/u.test(text) ? "。" : ".");
}

/** Copy a text, also on a page without https, where the browser offers no clipboard. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  before?.focus();
  if (!copied) throw new Error("the browser refused to copy");
}
