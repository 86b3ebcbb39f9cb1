"""Small models of every preset with random weights: which are exported to ONNX, and how alike they are.

python experiments/export/families.py [PRESET...]

A row for each: bytes, images per second of one thread, the largest difference of logits, and how many
captions of 200 noisy images, greedy and by beam search, are those of torch.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from measure import BATCH, METHODS, captioned, deviation, exported
from omegaconf import OmegaConf

from captionlab.build import Sizes, build_captioner
from captionlab.config.compose import compose
from captionlab.config.folder import choices
from captionlab.config.resolve import resolve
from captionlab.core.errors import UserError
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.models.captioner import Captioner
from captionlab.text.tokenizers import WordTokenizer
from captionlab.text.vocabulary import Vocabulary

IMAGES, SIZE = 200, 64
WORDS = [f"word{number}" for number in range(996)]
GPT2 = (
    "data/tokenizer=word",
    "model.decoder.weights=null",
    "model.decoder.trainable=all",
    "model.decoder.architecture={model_type:gpt2,n_layer:2,n_embd:64,n_head:4}",
)
LAYERS = "hidden_size:64,num_hidden_layers:2,num_attention_heads:4,intermediate_size:128"
BLIP = f"vision_config:{{{LAYERS},image_size:{SIZE}}},text_config:{{{LAYERS}}}"
SMALL = {
    "model.decoder.hidden": 64,
    "model.decoder.embedding": 64,
    "model.decoder.feed_forward": 128,
    "model.decoder.heads": 4,
    "model.decoder.layers": 2,
    "model.decoder.encoder_layers": 2,
    "model.decoder.refiner_layers": 2,
    "model.attention.heads": 4,
}
OF_PRESET = {
    "gpt2": GPT2,
    "prefix": (*GPT2, "model.decoder.prefix_length=4", "model.decoder.mapping_layers=2"),
    "huggingface_captioner": (
        "data/tokenizer=word",
        "model.decoder.weights=null",
        f"model.decoder.architecture={{model_type:blip,{BLIP}}}",
    ),
}


def small(preset: str) -> Captioner:
    """Return a captioner of a preset behind a small encoder, with random weights that tell images apart."""
    torch.manual_seed(0)
    overrides = [f"model={preset}", "model/encoder=small_cnn", "output_dir=unused"]
    composed = compose([*overrides, *OF_PRESET.get(preset, ())])
    for key, value in SMALL.items():
        if OmegaConf.select(composed, key):
            OmegaConf.update(composed, key, value)
    config = resolve(composed)
    captioner = build_captioner(config["model"], Sizes(len(WORDS) + 4, 0)).eval()
    for parameter in captioner.decoder.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return captioner


def row(preset: str, work: Path) -> str:
    """Return a preset's row of the table."""
    captioner = small(preset)
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 256, (IMAGES, 3, 8, 8), dtype=torch.uint8, generator=generator)
    images = blocks.repeat_interleave(SIZE // 8, 2).repeat_interleave(SIZE // 8, 3)
    tokenizer = WordTokenizer(Vocabulary(WORDS))
    config = {"data": {"fit": "stretch"}}
    loaded = LoadedCaptioner(captioner, tokenizer, METHODS["greedy"], config)
    try:
        onnx = exported(loaded, work / preset, "float32", ())
    except UserError as error:
        return f"| {preset} | {error} | | | | |"
    size = sum(path.stat().st_size for path in (work / preset).iterdir()) / 1e6
    cells = []
    for decoding in METHODS.values():
        ours, speed = captioned(LoadedCaptioner(captioner, tokenizer, decoding, config), images)
        theirs, faster = captioned(LoadedCaptioner(onnx, tokenizer, decoding, config), images)
        equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
        cells.append(f"{equal} of {IMAGES} ({len(set(ours))} different)")
    largest = max(deviation(captioner, onnx, batch) for batch in images.split(BATCH))
    cells += [f"{speed:.0f}", f"{faster:.0f}"]
    return f"| {preset} | {size:.1f} | {largest:.1e} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table, row by row."""
    torch.set_num_threads(1)
    print("| preset | MB | logits | greedy equal | beam 3 equal | torch images/s | ONNX images/s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for preset in sys.argv[1:] or choices("model"):
            print(row(preset, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
