// The history of this session: in the memory of this page, and nowhere else.

import { element } from "./dom.js";

const MOST = 40;

const entries = []; // newest first

/** Keep an entry `{picture, question, captions, language, chosen}`; the oldest of too many goes. */
export function remember(entry) {
  entries.unshift(entry);
  entries.splice(MOST);
  return entry;
}

/** Forget all entries but one. */
export function forgetAllBut(entry) {
  entries.splice(0, MOST, ...entries.filter((one) => one === entry));
}

/** Fill a list with the entries, and return how many there are. */
export function list(ul, current, onOpen) {
  ul.replaceChildren(...entries.map((entry) => {
    const question = element("span", { className: "soft small", textContent: entry.question });
    const text = element("span", {
      lang: entry.language, textContent: entry.captions[entry.chosen].text,
    });
    const button = element("button", { type: "button", className: "entry", onclick: () => onOpen(entry) },
      copyOf(entry.picture.thumbnail), question, text);
    if (entry === current) button.setAttribute("aria-current", "true");
    return element("li", {}, button);
  }));
  return entries.length;
}

// a canvas stands in one place only, and several entries may show one picture
function copyOf(thumbnail) {
  const { width, height } = thumbnail;
  const canvas = element("canvas", { width, height, ariaHidden: "true" });
  canvas.getContext("2d").drawImage(thumbnail, 0, 0);
  return canvas;
}
