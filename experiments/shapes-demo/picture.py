"""Draw the README's picture: python experiments/shapes-demo/picture.py RUN/checkpoints/best.ckpt OUT.png."""

import sys
import textwrap

import matplotlib.pyplot as plt
import torch

from captionlab import load_captioner
from captionlab.data.readers.shapes import Shapes

ROWS, COLUMNS = 2, 4


def main(checkpoint: str, out: str) -> None:
    """Caption the first pictures of the test split and show them, false captions in red."""
    captioner = load_captioner(checkpoint)
    size = captioner.captioner.encoder.image_size
    seen, shown = Shapes(image_size=size), Shapes(image_size=224)
    records = [seen.records("test")[i] for i in range(ROWS * COLUMNS)]
    images = [torch.from_numpy(r.image().copy()).permute(2, 0, 1) for r in records]
    captions = captioner.batch(images)
    figure, axes = plt.subplots(ROWS, COLUMNS, figsize=(11, 6.3))
    for i, (axis, record, caption) in enumerate(zip(axes.flat, records, captions, strict=True)):
        true = seen.truth(record.image_id, caption)
        axis.imshow(shown.records("test")[i].image())
        axis.set_title(
            "\n".join(textwrap.wrap(caption, 30)),
            fontsize=10.5,
            color="black" if true else "firebrick",
        )
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
