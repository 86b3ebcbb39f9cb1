// The server's API: one function a path. Whatever goes wrong becomes a Failure with a plain sentence.

let token = "";

/** Keep a bearer token for this page's lifetime; it is stored nowhere. */
export function useToken(value) {
  token = value.trim();
}

/** What went wrong, in words for the person before the screen. */
export class Failure extends Error {
  constructor(title, detail, { status = 0, again = true } = {}) {
    super(detail);
    Object.assign(this, { title, status, again });
  }
}

const TITLES = {
  400: "The server could not do that",
  401: "This server asks for a token",
  403: "This server does not allow that",
  413: "The picture is too large for this server",
  415: "The server cannot read this file as a picture",
  422: "The server could not do that",
  429: "The server is busy",
  503: "The server is busy",
  504: "The server took too long",
};
const DETAILS = {
  401: "Whoever runs it can give it to you.",
  429: "Many people ask at this moment.",
  503: "Many people ask at this moment.",
  504: "It may be busy; trying again often helps.",
};

/** Return what the model can do: its entry of /v1/models, whose `captionlab` is never missing. */
export async function model() {
  const { data } = await json(await request("v1/models"));
  if (!data?.[0]?.id) throw unreadable();
  return { ...data[0], captionlab: data[0].captionlab ?? {} };
}

/** Return the captions of a picture, best first: `{text, probability, words}` each. */
export async function caption(blob, fields, signal) {
  const body = new FormData();
  body.append("image", blob, "picture");
  for (const [name, value] of Object.entries(fields)) if (value !== "") body.append(name, value);
  const answer = await json(await request("v1/caption", { method: "POST", body, signal }));
  const captions = answer.results?.[0]?.captions;
  if (!Array.isArray(captions) || !captions.every((one) => typeof one?.caption === "string")) {
    throw unreadable();
  }
  if (!captions.length) throw new Failure("No caption came back", "The model wrote nothing.");
  return captions.map(plain);
}

/** Return a text as speech, the bytes of a WAV file. */
export async function speech(text, language) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ text, language });
  return (await request("v1/speech", { method: "POST", headers, body })).arrayBuffer();
}

function plain({ caption: text, probability, words }) {
  const share = (value) => (Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : null);
  return {
    text,
    probability: share(probability),
    words: (Array.isArray(words) ? words : []).map(({ word, confidence, attention, given }) => ({
      word: String(word),
      confidence: given ? null : share(confidence), // nobody was unsure of what was given
      attention: attention?.[0]?.length ? attention : null,
    })),
  };
}

async function request(path, { headers = {}, ...options } = {}) {
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server cannot be reached", navigator.onLine
      ? "It may have been stopped, or the connection is gone. Nothing is lost here."
      : "This device is offline. Nothing is lost here; try again when it is back.");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const { status } = response;
  const title = TITLES[status] ?? "The server failed";
  let detail = "";
  try {
    detail = (await response.json()).error?.message ?? "";
  } catch { /* not every server before this one speaks JSON */ }
  const seconds = Number(response.headers.get("Retry-After"));
  const parts = [
    DETAILS[status] ?? (status >= 500 ? `Something went wrong there, not here (${status}).` : ""),
    status in DETAILS ? "" : detail,
    seconds > 0 ? `Try again in ${seconds} s.` : "",
  ];
  return new Failure(title, parts.filter(Boolean).join(" "), { status, again: status !== 415 });
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    throw unreadable();
  }
}

function unreadable() {
  return new Failure("The server's answer could not be read", "It may be of another version.");
}
