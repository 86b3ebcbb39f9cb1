"""What a photo's caption waits for: no library that its checkpoint does not use is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from captionlab.build import Sizes, build_captioner
from captionlab.inference.checkpoints import KEY, WEIGHTS_PREFIX, portable
from captionlab.text import WordTokenizer
from tests_support import tiny_config

ENCODERS = "captionlab.models.encoders"
SLOW = [
    *("torchvision", "timm", "pytorch_lightning", "lightning", "torchmetrics", "transformers"),
    *("wandb", "hydra", "omegaconf", "rich", "yaml", "scipy", "pandas", "huggingface_hub"),
    *("torch._dynamo", "torch._inductor", "torch.onnx", "sympy"),
]
PROGRAM = """
import json, os, sys
from captionlab.cli.main import main
for checkpoint in sys.argv[1:-1]:
    try:
        main(["predict", checkpoint, sys.argv[-1]])
    except SystemExit as ending:
        assert not ending.code
print(json.dumps([name for name in json.loads(os.environ["SLOW"]) if name in sys.modules]))
print(os.environ["GOMP_SPINCOUNT"])
"""


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    config = tiny_config()
    own = config["model"]["encoder"]
    network = {"weights": None, "image_size": 64}
    encoders = {
        "tiny": own,
        "photos": {"_target_": f"{ENCODERS}.TimmEncoder", "name": "tf_efficientnet_lite0"},
        "residual": {"_target_": f"{ENCODERS}.TorchvisionEncoder", "name": "resnet18"},
    }
    return [
        _checkpoint(tmp_path / f"{name}.ckpt", config, one if one is own else {**one, **network})
        for name, one in encoders.items()
    ]


def _checkpoint(path: Path, config: dict, encoder: dict) -> Path:
    config = {**config, "model": {**config["model"], "encoder": encoder}}
    tokenizer = WordTokenizer.fit(["a red circle", "a blue square"], threshold=1)
    captioner = build_captioner(config["model"], Sizes.of(tokenizer))
    weights = {WEIGHTS_PREFIX + name: tensor for name, tensor in captioner.state_dict().items()}
    torch.save({KEY: portable(config, tokenizer), "state_dict": weights}, path)
    return path


def test_a_caption_imports_nothing_that_its_checkpoint_does_not_use(
    checkpoints: list[Path], tmp_path: Path
):
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (90, 60), "red").save(photo)
    environment = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, checkpoints), str(photo)],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "SLOW": json.dumps(SLOW)},
    )
    *captions, imported, spins = done.stdout.splitlines()
    assert len(captions) == 3
    assert json.loads(imported) == []
    assert int(spins) > 0
