// Labeling: a picture, what the model proposes, one field for the caption; everything by keyboard.
import { $, announce, askJson, element, newKey, personName, showImage, warn } from "./session.js";

const BEAT = 1500; // milliseconds between looks at a picture whose proposals are not there yet
const CALM = 20000; // and at one whose are: others may have written meanwhile

let person = "";
let shown = null; // the picture as the server described it last
let editing = null; // the caption that is corrected, if one is
let original = ""; // the proposal that stands in the field
let busy = false;
let beat = 0;

const post = (path, body) => askJson(path, { person, ...body });
const counted = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

function showProgress({ pictures, captioned, nothing_true: nothing, open }) {
  $("progress").max = pictures;
  $("progress").value = captioned + nothing;
  $("progress-text").textContent =
    `${captioned + nothing} of ${counted(pictures, "picture")} done, ${nothing} with nothing true, ${open} to do`;
}

/** Put a text into the field; ``from`` is the proposal it is, if it is one. */
function fill(text, from = "") {
  $("caption").value = text;
  original = from;
  describeKeep();
}

function describeKeep() {
  const text = $("caption").value.trim();
  const unchanged = original && text === original;
  const verb = editing ? "Keep the change" : unchanged ? "Accept" : "Keep";
  $("keep").firstChild.textContent = `${verb} `;
  $("caption-label").textContent = editing ? "Change the caption" : "Caption";
  $("caption-hint").textContent = editing
    ? `in place of “${editing.text}”`
    : unchanged ? "as the model proposes it"
    : original && text ? "corrected"
    : !text && shown.captions.length ? "another one, or Enter for the next picture" : "";
}

function showProposals() {
  const proposals = shown.proposals;
  $("proposals-field").hidden = proposals.length === 0 && !shown.pending;
  $("proposals").replaceChildren(
    ...proposals.slice(0, 9).map((proposal, index) => {
      const button = element("button", "", { type: "button" });
      button.append(element("span", proposal.caption), element("kbd", `Alt ${index + 1}`));
      button.setAttribute("aria-pressed", String(proposal.caption === original));
      button.addEventListener("click", () => take(index));
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
  if (shown.pending) $("proposals").append(element("li", "The model is still looking ...", { class: "soft" }));
}

function take(index) {
  const proposal = shown?.proposals[index];
  if (!proposal) return;
  editing = null;
  fill(proposal.caption, proposal.caption);
  showProposals();
  $("caption").focus();
}

function captionItem(caption) {
  const row = element("div", "", { class: "row" });
  const text = element("span");
  text.append(element("span", caption.text), element("span", ` ${caption.person}`, { class: "soft small" }));
  const buttons = element("span", "", { class: "row" });
  const change = element("button", "Change", { type: "button", "aria-label": `Change: ${caption.text}` });
  change.addEventListener("click", () => {
    editing = caption;
    fill(caption.text);
    $("caption").focus();
  });
  const remove = element("button", "Remove", { type: "button", "aria-label": `Remove: ${caption.text}` });
  remove.addEventListener("click", () => act({ kind: "remove", target: caption.id }, "Removed", true));
  buttons.append(change, remove);
  row.append(text, buttons);
  const item = document.createElement("li");
  item.append(row);
  return item;
}

function showState() {
  $("captions-section").hidden = shown.captions.length === 0;
  $("captions").replaceChildren(...shown.captions.map(captionItem));
  const others = (names) => names.filter((name) => name !== person).join(", ");
  const notes = [
    shown.held_by && `${shown.held_by} works on this picture too: what you both write is kept.`,
    shown.nothing_true_by.length && `${shown.nothing_true_by.join(", ")}: nothing is true of what was proposed.`,
    others(shown.skipped_by) && `Skipped by ${others(shown.skipped_by)}.`,
  ].filter(Boolean);
  $("note").textContent = notes.join(" ");
  $("note").hidden = notes.length === 0;
  showProposals();
}

/** Show a picture anew, or ``null``: there is none left. */
function show(picture, progress, said = "") {
  showProgress(progress);
  clearTimeout(beat);
  $("work").hidden = picture === null;
  $("finished").hidden = picture !== null;
  if (picture === null) {
    shown = null;
    $("finished-text").textContent = progress.open
      ? `${counted(progress.open, "picture")} to do: others work on them, or you skipped them.`
      : "All pictures are done.";
    announce(said);
    $("finished").focus();
    return;
  }
  shown = picture;
  editing = null;
  const first = picture.captions.length ? null : picture.proposals[0];
  fill(first?.caption ?? "", first?.caption ?? "");
  $("picture-title").textContent = `Picture ${picture.number}: ${picture.name}`;
  if (location.hash !== `#${picture.number}`) history.pushState(null, "", `#${picture.number}`);
  showImage($("picture"), `api/pictures/${picture.number}/image`, `Picture ${picture.number}`);
  showState();
  announce(`${said} Picture ${picture.number}. ${first ? `The model proposes: ${first.caption}` : ""}`.trim());
  $("caption").focus();
  $("caption").select();
  beat = setTimeout(look, picture.pending ? BEAT : CALM);
}

/** Keep the picture for this person, and take in what others did and the model found meanwhile. */
async function look() {
  const { number } = shown;
  const untouched = !$("caption").value && !editing;
  const answer = await post(`api/pictures/${number}/lease`, {}).catch((error) => warn(error.message));
  if (!answer || busy || shown?.number !== number) return;
  shown = { ...answer.picture, held_by: answer.held_by };
  showProgress(answer.progress);
  const first = shown.proposals[0]?.caption;
  if (untouched && !$("caption").value && first && !shown.captions.length) {
    fill(first, first);
    announce(`The model proposes: ${first}`);
    $("caption").select();
  }
  showState();
  beat = setTimeout(look, shown.pending ? BEAT : CALM);
}

/** Do something that waits for the server, one at a time. */
async function alone(work) {
  if (busy) return;
  busy = true;
  clearTimeout(beat);
  document.body.setAttribute("aria-busy", "true");
  warn("");
  try {
    await work();
  } catch (error) {
    warn(error.message);
    if (shown) beat = setTimeout(look, CALM);
  } finally {
    busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

const next = async (said) => {
  const answer = await post("api/next", {});
  show(answer.picture, answer.progress, said);
};

function act(action, said, stay = false) {
  const body = { ...action, picture: shown.number, key: newKey() };
  return alone(async () => {
    const answer = await post("api/actions", body);
    if (!stay) return next(said);
    show(answer.picture, answer.progress, said);
    if (action.kind !== "remove") fill("");
  });
}

function keep(stay) {
  const caption = $("caption").value.trim();
  if (!caption && shown.captions.length) return keys.KeyO();
  if (!caption) return warn("Write a caption, or skip the picture.");
  if (editing) return act({ kind: "correct", caption, target: editing.id }, "Changed.", true);
  const kind = !original ? "add" : caption === original ? "accept" : "correct";
  const from = original ? { original } : {};
  return act({ kind, caption, ...from }, { add: "Kept.", accept: "Accepted.", correct: "Corrected." }[kind], stay);
}

const undo = () => alone(async () => {
  const answer = await post("api/undo", { key: newKey() });
  if (!answer.undone) return announce("There is nothing of yours to undo.");
  const said = `Undone: ${answer.undone.replace("_", " ")}.`;
  if (answer.picture) show(answer.picture, answer.progress, said);
  else announce(said);
});

const open = (number) => alone(async () => {
  const answer = await askJson(`api/pictures/${number}`);
  show(answer.picture, answer.progress);
});

const keys = {
  KeyN: () => act({ kind: "nothing_true" }, "Nothing true."),
  KeyS: () => act({ kind: "skip" }, "Skipped."),
  KeyU: undo,
  KeyB: () => history.back(),
  KeyO: () => alone(() => next("")),
};

document.addEventListener("keydown", (event) => {
  if (!event.altKey || event.ctrlKey || event.metaKey || !person) return;
  const digit = /^Digit([1-9])$/.exec(event.code);
  const does = digit ? () => take(Number(digit[1]) - 1) : keys[event.code];
  if (!does || (!shown && event.code !== "KeyU" && event.code !== "KeyO")) return;
  event.preventDefault();
  if (!event.repeat) does();
});
$("caption").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  if (!event.repeat) keep(event.shiftKey);
});
$("caption").addEventListener("input", describeKeep);
$("caption-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(false);
});
$("more").addEventListener("click", () => keep(true));
$("nothing").addEventListener("click", keys.KeyN);
$("skip").addEventListener("click", keys.KeyS);
for (const id of ["undo", "undo-finished"]) $(id).addEventListener("click", undo);
for (const id of ["onward", "again"]) $(id).addEventListener("click", keys.KeyO);
window.addEventListener("popstate", () => {
  const number = Number(location.hash.slice(1));
  if (person && Number.isInteger(number) && number > 0 && number !== shown?.number) open(number);
});

personName((name) => {
  person = name;
  alone(async () => {
    const session = await askJson("api/session");
    $("folder").textContent = session.folder;
    document.title = `captionlab: label ${session.folder}`;
    const number = Number(location.hash.slice(1));
    if (Number.isInteger(number) && number > 0) {
      const answer = await askJson(`api/pictures/${number}`);
      show(answer.picture, answer.progress);
    } else await next("");
    if (session.failure) warn(`The model stopped: ${session.failure}`);
  });
});
