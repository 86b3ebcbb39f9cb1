// What the pages for people share: requests that are repeated until they are answered, who works
// here, and the token of the server, which stands behind # in the address that the terminal printed.

const TOKEN = "captionlab-token";
const KEEPS = /\/(actions|undo|answers)$/;
const WAITS = [500, 1000, 2000, 4000, 8000]; // milliseconds

const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has("token")) {
  sessionStorage.setItem(TOKEN, fragment.get("token"));
  history.replaceState(null, "", location.pathname);
}

/** An answer that says no: a sentence for people, and the HTTP status. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const $ = (id) => document.getElementById(id);

/** Return an element with text; nothing is ever read as HTML. */
export function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Return a key of an action's own: the same one when it is sent again. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Announce a sentence: seen, and read by a screen reader. */
export function announce(text) {
  $("status").textContent = text;
}

/** Show what went wrong; an empty text hides it. */
export function warn(text) {
  $("failure").textContent = text;
  $("failure").hidden = !text;
}

export function headers(body) {
  const own = body === undefined ? {} : { "Content-Type": "application/json" };
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...own, Authorization: `Bearer ${token}` } : own;
}

async function once(path, body) {
  const response = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers: headers(body),
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.ok) return response;
  if (response.status === 401) throw new Refusal("Open the address that was printed with its token.", 401);
  const answer = await response.json().catch(() => ({}));
  throw new Refusal(answer.error?.message ?? `the server answered ${response.status}`, response.status);
}

/** Return the answer of the server, asked again while it is away or cannot write. */
export async function ask(path, body) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await once(path, body);
      if (attempt) warn("");
      return response;
    } catch (error) {
      if (error instanceof Refusal && error.status !== 503) throw error;
      const reason = error instanceof Refusal ? error.message : "The server does not answer.";
      const lost = KEEPS.test(path) ? " What you did last is not kept yet." : "";
      warn(`${reason}${lost} Trying again ...`);
      await new Promise((resolve) => setTimeout(resolve, WAITS[Math.min(attempt, WAITS.length - 1)]));
    }
  }
}

export const askJson = async (path, body) => (await ask(path, body)).json();

/** Show a picture in an image element; the address of it holds no token. */
export async function showImage(image, path, text) {
  image.alt = "";
  const old = image.src;
  try {
    const response = await once(path);
    image.src = URL.createObjectURL(await response.blob());
    image.alt = text;
    image.hidden = false;
  } catch (error) {
    image.hidden = true;
    image.removeAttribute("src");
    warn(error.message);
  }
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

/** Return the name of who works here, asked for once a browser. */
export function personName(onName) {
  const kept = localStorage.getItem("captionlab-person");
  $("person-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = $("person").value.trim();
    if (!name) return;
    localStorage.setItem("captionlab-person", name);
    choose(name);
  });
  $("change-person").addEventListener("click", () => {
    $("start").hidden = false;
    $("work").hidden = true;
    $("person").focus();
  });
  function choose(name) {
    $("start").hidden = true;
    $("who").textContent = name;
    $("change-person").hidden = false;
    onName(name);
  }
  if (kept) {
    $("person").value = kept;
    choose(kept);
  } else {
    $("person").focus();
  }
}
