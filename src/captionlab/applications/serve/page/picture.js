// A file becomes a picture: decoded here, scaled down before it is sent, drawn on canvases.

import { Failure } from "./api.js";

const LONGEST = 1600; // pixels of the long side that is sent: a model looks at a few hundred
const AS_IT_IS = 3_000_000; // bytes up to which a picture of that size is sent unchanged
const THUMBNAIL = 240;

/**
 * Return a picture `{blob, thumbnail, width, height, bytes}` of a file; throw a Failure without one.
 * `blob` is what is sent and shown again later; `width` and `height` are those of the file.
 */
export async function open(file, maxBytes = Infinity) {
  // a copy: the file may be changed or gone when it is sent again
  const copy = new Blob([await file.arrayBuffer()], { type: file.type });
  const bitmap = await createImageBitmap(copy).catch(() => {
    throw new Failure(
      "This is not a picture that your browser can open",
      `${file.name || "What you gave"} could not be decoded. JPEG, PNG, WebP and GIF work everywhere.`,
      { again: false },
    );
  });
  const { width, height } = bitmap;
  const thumbnail = scaled(bitmap, THUMBNAIL);
  const isSmall = Math.max(width, height) <= LONGEST && copy.size <= Math.min(AS_IT_IS, maxBytes);
  const blob = isSmall ? copy : await compressed(scaled(bitmap, LONGEST), maxBytes);
  bitmap.close();
  return { blob, thumbnail, width, height, bytes: copy.size };
}

/** Draw a picture on a canvas that is on the page. */
export async function draw(canvas, { blob }) {
  const bitmap = await createImageBitmap(blob);
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

/** Return the picture files of a drop or a paste. */
export function filesOf(transfer) {
  const files = [...(transfer?.files ?? [])];
  const pictures = files.filter((file) => file.type.startsWith("image/"));
  return pictures.length ? pictures : files;
}

/** Return a number of bytes in words. */
export function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function scaled(source, longest) {
  const scale = Math.min(1, longest / Math.max(source.width, source.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(source.width * scale));
  canvas.height = Math.max(1, Math.round(source.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Return a canvas as JPEG of at most so many bytes: first at lower quality, then smaller. */
async function compressed(canvas, maxBytes) {
  const opaque = onWhite(canvas);
  for (const [scale, quality] of [[1, 0.92], [1, 0.8], [0.6, 0.8], [0.3, 0.8]]) {
    const smaller = scale < 1 ? scaled(opaque, LONGEST * scale) : opaque;
    const blob = await new Promise((done) => smaller.toBlob(done, "image/jpeg", quality));
    if (blob && blob.size <= maxBytes) return blob;
  }
  throw new Failure(
    "The picture is too large for this server", `It takes ${size(maxBytes)} at most.`, { again: false },
  );
}

// JPEG knows no transparency and would show it black
function onWhite(canvas) {
  const opaque = document.createElement("canvas");
  opaque.width = canvas.width;
  opaque.height = canvas.height;
  const context = opaque.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, opaque.width, opaque.height);
  context.drawImage(canvas, 0, 0);
  return opaque;
}
