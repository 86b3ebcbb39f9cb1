// Where the model looked: the picture stays lit there and is dimmed elsewhere.

const DARKEST = 0.72;
const LONG_SIDE = 640; // pixels of the overlay; it is smooth, so few are enough

/**
 * Return where the square of `size` pixels that the model sees lies on a picture, as shares of its
 * width and height. As `frame` of captionlab.data.images.prepare: "pad" reaches beyond 0 and 1.
 */
export function frameOf(width, height, size, fit) {
  if (fit === "crop") {
    const side = Math.min(width, height);
    const left = Math.floor((width - side) / 2) / width;
    const top = Math.floor((height - side) / 2) / height;
    return { left, top, right: left + side / width, bottom: top + side / height };
  }
  if (fit === "pad") {
    const scale = size / Math.max(width, height);
    const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    const [x, y] = [w, h].map((side) => Math.floor((size - side) / 2));
    return { left: -x / w, top: -y / h, right: (size - x) / w, bottom: (size - y) / h };
  }
  return { left: 0, top: 0, right: 1, bottom: 1 };
}

/**
 * Draw an attention grid (rows of weights) over a picture; without one, the overlay vanishes.
 * How the model sees pictures stands in its entry of /v1/models.
 */
export function paint(canvas, grid, picture, { image_size: size = 224, fit } = {}) {
  canvas.hidden = !grid;
  if (!grid) return;
  const scale = LONG_SIDE / Math.max(picture.width, picture.height);
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = `rgb(8 10 14 / ${DARKEST})`;
  context.fillRect(0, 0, canvas.width, canvas.height); // what a crop leaves out was not seen
  const { left, top, right, bottom } = frameOf(picture.width, picture.height, size, fit);
  const place = [
    left * canvas.width, top * canvas.height,
    (right - left) * canvas.width, (bottom - top) * canvas.height,
  ];
  context.clearRect(...place);
  context.imageSmoothingQuality = "high";
  context.drawImage(shade(grid), ...place);
}

/** Return a grid as a canvas of one dark pixel a cell, clear where the weight is largest. */
function shade(grid) {
  const [rows, columns] = [grid.length, grid[0].length];
  const weights = grid.flat().map((weight) => (weight > 0 ? weight : 0));
  const largest = weights.reduce((most, weight) => Math.max(most, weight), 0) || 1;
  const pixels = new ImageData(columns, rows);
  weights.slice(0, rows * columns).forEach((weight, index) => {
    pixels.data.set([8, 10, 14, 255 * DARKEST * (1 - weight / largest)], 4 * index);
  });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}
