"""A run on captions in styles: each style scored by itself, and written when asked for."""

import json
from pathlib import Path

import pytest
from PIL import Image

from captionlab.cli.predict import predict
from captionlab.core.errors import UserError
from captionlab.shapes.styles import STYLES
from captionlab.text.prompts import Prompt
from commands_support import SMALL, run_train

MORE = ["data.source.train_size=64", "trainer.max_epochs=1", "samples=0", "decoding.max_length=8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("styles")
    run_train(folder, "experiment=shapes_styles", *SMALL, *MORE, "hydra.run.dir=run")
    return folder / "run"


def test_each_style_of_an_image_is_scored(run: Path):
    captions = json.loads((run / "captions.json").read_text())
    assert [one["image_id"] for one in captions[:3]] == [
        f"test-0: {style}" for style in sorted(STYLES)
    ]
    assert len(captions) == 8 * 3
    scores = json.loads((run / "results.json").read_text())
    for name in ("truth", "style_obeyed", "fact_precision", "fact_recall"):
        assert 0 <= scores[f"test/{name}"] <= 1


@pytest.mark.parametrize("style", STYLES)
def test_predict_writes_in_a_style(run: Path, style: str, tmp_path: Path):
    Image.new("RGB", (32, 32), (90, 20, 40)).save(tmp_path / "photo.png")
    out = tmp_path / "out.jsonl"
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    prompt = Prompt(style=style)
    assert predict(checkpoint, [str(tmp_path / "photo.png")], out=str(out), prompt=prompt) == 0
    line = json.loads(out.read_text())
    assert line["style"] == style
    assert line["caption"]


def test_an_unknown_style_is_named_with_the_nearest(run: Path, tmp_path: Path):
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    with pytest.raises(UserError, match="did you mean 'paragraph'"):
        predict(checkpoint, [str(tmp_path / "photo.png")], prompt=Prompt(style="paragraf"))
