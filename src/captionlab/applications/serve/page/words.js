// A caption as words that can be pointed at, each with a bar as long as the model was sure of it.

import { element } from "./dom.js";

/** Return a share in percent. */
export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

/** Return how sure the model was of the words of a caption on average, null where it does not tell. */
export function meanConfidence({ words }) {
  const known = words.map((word) => word.confidence).filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/**
 * Show a caption in `group`; `onWord(word or null)` is told which word is pointed at or focused.
 * One Tab stop: arrow keys, Home and End move between the words.
 */
export function showWords(group, caption, onWord) {
  let kept = null; // the word that was clicked: it stays lit until it is clicked again
  const keep = (word) => {
    kept = word;
    buttons.forEach((button, word) => button.classList.toggle("kept", word === kept));
    onWord(kept);
  };
  const buttons = new Map();
  group.replaceChildren(...pieces(caption).map(({ text, word }) => {
    if (!word) return document.createTextNode(text);
    const button = wordButton(text, word, buttons.size ? -1 : 0);
    button.onfocus = button.onpointerenter = () => onWord(word);
    button.onblur = button.onpointerleave = () => onWord(kept);
    button.onclick = () => keep(kept === word ? null : word);
    buttons.set(word, button);
    return button;
  }));
  group.onkeydown = (event) => {
    if (event.key === "Escape") keep(null);
    const all = [...buttons.values()];
    const next = neighbor(event.key, all.indexOf(document.activeElement), all.length - 1);
    if (next === undefined) return;
    event.preventDefault();
    all.forEach((button, index) => { button.tabIndex = index === next ? 0 : -1; });
    all[next].focus();
  };
}

function neighbor(key, here, last) {
  const [before, after] = [Math.max(here - 1, 0), Math.min(here + 1, last)];
  return {
    ArrowLeft: before, ArrowUp: before, ArrowRight: after, ArrowDown: after, Home: 0, End: last,
  }[key];
}

function wordButton(text, { confidence }, tabIndex) {
  const button = element("button", { type: "button", className: "word", tabIndex, textContent: text });
  if (confidence !== null) {
    button.style.setProperty("--sure", confidence);
    button.append(element("span", { className: "unseen", textContent: `, ${percent(confidence)} sure` }));
  }
  return button;
}

/** Cut a caption into its words and what stands between them (spaces, a given beginning). */
function pieces({ text, words }) {
  const cut = [];
  let end = 0;
  for (const word of words) {
    const start = word.word ? text.indexOf(word.word, end) : -1;
    if (start < 0) continue;
    if (start > end) cut.push({ text: text.slice(end, start) });
    end = start + word.word.length;
    cut.push({ text: word.word, word });
  }
  if (end < text.length) cut.push({ text: text.slice(end) });
  return cut;
}
