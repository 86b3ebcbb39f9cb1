// Language, style and first words of a caption, offered only where the model learned them.

import { $ } from "./dom.js";

/** Show the fields that the model has; return whether there is any. */
export function offer({ languages = [], styles = [], beginning = false }) {
  fill("language", languages.map((code) => [code, nameOf(code)]), languages.length > 1);
  fill("style", [["", "plain"], ...styles.map((style) => [style, style])], styles.length > 0);
  $("begin-field").hidden = !beginning;
  return languages.length > 1 || styles.length > 0 || beginning;
}

/** Return the fields of a request as they stand; "" stands for nothing asked. */
export function wording() {
  return { language: $("language").value, style: $("style").value, begin: $("begin").value.trim() };
}

function nameOf(code) {
  try {
    return new Intl.DisplayNames([document.documentElement.lang], { type: "language" }).of(code);
  } catch {
    return code; // a language of somebody's own naming
  }
}

function fill(id, choices, shown) {
  $(`${id}-field`).hidden = !shown;
  $(id).replaceChildren(...(shown ? choices : []).map(([value, text]) => new Option(text, value)));
}
