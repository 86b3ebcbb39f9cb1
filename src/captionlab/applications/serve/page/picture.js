// A file becomes a picture: decoded here, scaled down before it is sent, drawn on canvases.

import { Failure } from "./api.js";
import { element } from "./dom.js";

const LONGEST = 1600; // pixels of the long side that is sent: a model looks at a few hundred
const AS_IT_IS = 3_000_000; // bytes up to which a picture of that size is sent unchanged
const COMMON = /^image\/(jpeg|png|webp|gif)$/; // what every server reads
const THUMBNAIL = 240;

/**
 * Return a picture `{blob, thumbnail, width, height, bytes}` of a file; throw a Failure without one.
 * `blob` is what is sent and shown again later; `width` and `height` are those of the file.
 */
export async function open(file, maxBytes = Infinity) {
  let copy; // the file may be changed or gone when it is sent again
  let bitmap;
  try {
    copy = new Blob([await file.arrayBuffer()], { type: file.type });
    bitmap = await createImageBitmap(copy);
  } catch {
    throw new Failure(
      "This is not a picture that your browser can open",
      `${file.name || "What you gave"} could not be decoded. JPEG, PNG, WebP and GIF work everywhere.`,
      { again: false },
    );
  }
  const { width, height } = bitmap;
  const thumbnail = scaled(bitmap, THUMBNAIL);
  const isSmall = Math.max(width, height) <= LONGEST && copy.size <= Math.min(AS_IT_IS, maxBytes);
  const blob = isSmall && COMMON.test(copy.type) ? copy : await compressed(bitmap, maxBytes);
  bitmap.close();
  return { blob, thumbnail, width, height, bytes: copy.size };
}

/** Draw a bitmap on a canvas, which takes its size; the bitmap is used up. */
export function draw(canvas, bitmap) {
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

/** Return a bitmap on a canvas of its own, smaller where its long side is longer, on a color. */
function scaled(bitmap, longest, paper = "transparent") {
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.round(side * scale) || 1);
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = paper;
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas;
}

/** Return a bitmap as JPEG of at most so many bytes: first at lower quality, then smaller. */
async function compressed(bitmap, maxBytes) {
  for (const [share, quality] of [[1, 0.92], [1, 0.8], [0.6, 0.8], [0.3, 0.8]]) {
    // JPEG knows no transparency, and would show it black
    const canvas = scaled(bitmap, LONGEST * share, "#fff");
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
    if (blob && blob.size <= maxBytes) return blob;
  }
  throw new Failure(
    "The picture is too large for this server", `It takes ${size(maxBytes)} at most.`, { again: false },
  );
}
