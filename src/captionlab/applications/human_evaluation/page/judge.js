// Judging: a picture, two captions, one answer; which system wrote what is not known here.
import { $, announce, askJson, element, newKey, personName, showImage, warn } from "./session.js";

const CHOICES = ["left", "right", "equal"];
const KEYS = { 1: "left", 2: "right", 0: "equal", ArrowLeft: "left", ArrowRight: "right" };
const RATED = [["correctness", "Correct"], ["fluency", "Fluent"]];
const SAID = { left: "The first one.", right: "The second one.", equal: "Equal." };

let person = "";
let pair = null;
let rates = false;
let chosen = null;
let busy = false;

function showProgress({ done, most }) {
  $("progress").max = most;
  $("progress").value = done;
  $("progress-text").textContent = `${done} of about ${most} judged`;
}

/** Show five numbers to choose from for each rating of each side. */
function showRatings() {
  $("ratings").hidden = !rates;
  if (!rates) return;
  const fields = RATED.flatMap(([what, word]) => ["left", "right"].map((side) => {
    const name = `${what}_${side}`;
    const field = document.createElement("fieldset");
    field.append(element("legend", `${word}? ${side === "left" ? "First" : "Second"} caption`, { class: "small" }));
    for (let value = 1; value <= 5; value += 1) {
      const label = element("label");
      const input = element("input", "", { type: "radio", name, value: String(value) });
      if (pair.answer?.[name] === value) input.checked = true;
      label.append(input, element("span", String(value)));
      field.append(label);
    }
    return field;
  }));
  $("ratings").replaceChildren(element("p", "1 is not at all, 5 is fully", { class: "soft small" }), ...fields);
}

function choose(choice) {
  chosen = choice;
  for (const side of CHOICES) $(side).setAttribute("aria-pressed", String(side === choice));
}

function show(answer, said = "") {
  pair = answer.pair;
  rates = answer.rates;
  showProgress(answer.progress);
  $("work").hidden = pair === null;
  $("finished").hidden = pair !== null;
  if (pair === null) {
    $("finished-text").textContent = `You judged ${answer.progress.done}.`;
    announce(said);
    $("finished").focus();
    return;
  }
  if (location.hash !== `#${pair.token}`) history.pushState(null, "", `#${pair.token}`);
  $("left-caption").textContent = pair.left;
  $("right-caption").textContent = pair.right;
  choose(pair.answer?.choice ?? null);
  showRatings();
  // without ratings a choice goes on at once; of a pair that was judged before nothing is chosen anew by looking
  $("onward").hidden = !rates && !pair.answer;
  showImage($("picture"), `api/pairs/${pair.token}/image`, "The picture that both captions are of");
  announce(`${said} First caption: ${pair.left}. Second caption: ${pair.right}.`.trim());
  $("question").focus();
}

async function alone(work) {
  if (busy) return;
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  warn("");
  try {
    await work();
  } catch (error) {
    warn(error.message);
  } finally {
    busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

const next = async (said = "") => show(await askJson("api/next", { person }), said);

function ratings() {
  const checked = $("ratings").querySelectorAll("input:checked");
  return Object.fromEntries([...checked].map((input) => [input.name, Number(input.value)]));
}

function send() {
  if (!chosen) return warn("Choose one of the captions, or equal.");
  const body = { person, token: pair.token, key: newKey(), choice: chosen, ...(rates ? ratings() : {}) };
  return alone(async () => {
    await askJson("api/answers", body);
    await next(SAID[body.choice]);
  });
}

function pick(choice) {
  if (busy || !pair) return;
  choose(choice);
  if (rates) announce(SAID[choice]);
  else send();
}

const open = (token) => alone(async () => {
  show(await askJson(`api/pairs/${encodeURIComponent(token)}`));
});

for (const side of CHOICES) $(side).addEventListener("click", () => pick(side));
$("onward").addEventListener("click", send);
$("back").addEventListener("click", () => history.back());
$("again").addEventListener("click", () => alone(next));
// who dictates, or whose keys stray, can do without keys that act alone
$("single-keys").checked = localStorage.getItem("captionlab-single-keys") !== "off";
$("single-keys").addEventListener("change", (event) => {
  localStorage.setItem("captionlab-single-keys", event.target.checked ? "on" : "off");
});
document.addEventListener("keydown", (event) => {
  if (!$("single-keys").checked) return;
  if (event.altKey || event.ctrlKey || event.metaKey || !pair || event.repeat) return;
  const typing = event.target.matches("input[type=radio]");
  const arrow = event.key.startsWith("Arrow");
  if (event.key in KEYS && !(typing && arrow)) {
    event.preventDefault();
    pick(KEYS[event.key]);
  } else if (event.key === "Enter" && !event.target.matches("button, a") && (rates || pair.answer)) {
    event.preventDefault();
    send();
  } else if (event.key.toLowerCase() === "b" && !typing) {
    event.preventDefault();
    history.back();
  }
});
window.addEventListener("popstate", () => {
  const token = location.hash.slice(1);
  if (person && token && token !== pair?.token) open(token);
});

personName((name) => {
  person = name;
  const token = location.hash.slice(1);
  if (token) open(token);
  else alone(next);
});
