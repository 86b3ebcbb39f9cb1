// What the server said about a picture: the caption with its words, how likely it is right, and the
// other captions. Everything of the server is inserted as text.

import { paint } from "./attention.js";
import { $, element } from "./dom.js";
import { meanConfidence, percent, showWords } from "./words.js";

/** Show an entry's chosen caption; `onChoose(index)` follows a click on another one. */
export function showResult(entry, abilities, onChoose) {
  const { captions, chosen, question, language, picture } = entry;
  const best = captions[chosen];
  const unsure = isUnsure(best, abilities);
  const doubt = question ? "I am not sure." : "I am not sure what this shows.";
  for (const id of ["spoken", "words", "captions"]) $(id).lang = language;
  $("unsure").hidden = !unsure;
  $("unsure").textContent = doubt;
  $("asked").hidden = !question;
  $("asked").textContent = question;
  $("spoken").textContent = best.text;
  $("chance").textContent = chance(best, unsure);
  $("copied").textContent = "";
  $("answer").classList.toggle("guess", unsure);
  $("picture").setAttribute("aria-label", `Your picture: ${best.text}`);
  const point = (word) => {
    paint($("attention"), word?.attention ?? null, picture, abilities);
    $("readout").textContent = readout(best, word);
  };
  showWords($("words"), best, point);
  point(null);
  $("others-title").textContent = question ? "Other answers" : "Other ways to say it";
  showOthers(captions, chosen, onChoose);
  const lead = unsure ? `${doubt} My best guess:` : question ? "Answer:" : "Caption:";
  $("live").textContent = `${lead} ${best.text}. ${chance(best, unsure)}`;
}

/** Return whether a caption is too likely to be wrong to be shown without a word of doubt. */
export function isUnsure({ probability }, { abstain }) {
  return probability !== null && probability < abstain;
}

function chance(caption, unsure) {
  if (caption.probability !== null) {
    const lead = unsure ? "My best guess, likely to be right:" : "Likely to be right:";
    return `${lead} ${percent(caption.probability)}`;
  }
  const mean = meanConfidence(caption);
  return mean === null ? "" : `Sure of its words: ${percent(mean)} on average`;
}

function readout({ words }, word) {
  if (word) {
    const sure = word.confidence === null ? "" : `: ${percent(word.confidence)} sure`;
    return `“${word.word}”${sure}.${word.attention ? " The picture is lit where the model looked." : ""}`;
  }
  const looks = words.some((one) => one.attention) ? " to see where the model looked" : "";
  const lines = words.some((one) => one.confidence !== null)
    ? "The line under a word is as long as the model was sure of it. " : "";
  return words.length ? `${lines}Point at a word${looks || " for the number"}.` : "";
}

function showOthers(captions, chosen, onChoose) {
  $("others").hidden = captions.length < 2;
  $("captions").replaceChildren(...captions.map((caption, index) => {
    const { probability, words } = caption;
    // a mean over words would rank them otherwise than the model did
    const share = probability ?? (words.length === 1 ? words[0].confidence : null);
    const note = share === null ? "" : `${percent(share)} ${probability === null ? "sure" : "likely"}`;
    const button = element("button", {
      type: "button", ariaPressed: String(index === chosen), onclick: () => onChoose(index),
    }, element("span", { textContent: caption.text }),
    element("span", { className: "soft small", textContent: note }));
    return element("li", {}, button);
  }));
}
