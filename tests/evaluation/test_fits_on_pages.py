"""Whatever data.fit makes of a picture, people see it as it is, and the attention in its place."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from captionlab.core.memory import Memory
from captionlab.data.dataset import CaptionDataset
from captionlab.data.features.store import FeatureStore, write_store
from captionlab.data.images.prepare import prepare
from captionlab.data.records import CaptionRecord
from captionlab.evaluation.attention_trace import AttentionTrace
from captionlab.evaluation.examples import collect_examples
from captionlab.evaluation.gallery import LABEL, Example, attention_picture, card
from captionlab.metrics.split_scorer import Scores
from captionlab.runs.comparison_page import add_pictures
from captionlab.text.tokenizers import WordTokenizer

SIZE, SIDE = 96, 12  # of the square that the encoder gets, and of its grid
WIDE, TALL = (200, 400), (400, 200)
FITS = ["stretch", "crop", "pad"]


def marked(height: int, width: int) -> np.ndarray:
    """Return a gray picture: its first corner is red, and a white spot lies off its middle."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[:40, :40] = (255, 0, 0)
    y, x = spot(height, width)
    image[y - 16 : y + 16, x - 16 : x + 16] = 255
    return image


def spot(height: int, width: int) -> tuple[int, int]:
    """Return the spot's middle, in the central square, which is all that crop sees."""
    side = min(height, width)
    return (height - side) // 2 + side // 4, (width - side) // 2 + 3 * side // 4


def example(folder: Path, shape: tuple[int, int], fit: str, stored: bool = False) -> Example:
    """Return the example of a model that looks at what is white in the encoder's square."""
    Image.fromarray(marked(*shape)).save(folder / "x.png")
    records = [CaptionRecord("x", folder / "x.png", ("a dog",))]
    features = None
    if stored:
        slots = torch.zeros(1, SIDE**2, 2)
        memory = Memory(slots, slots.mean(1), torch.ones(1, SIDE**2, dtype=torch.bool))
        write_store(folder / "store", records, {"fit": fit}, lambda _: memory)
        features = FeatureStore(folder / "store")
    words = WordTokenizer.fit(["one dog runs on grass"], threshold=1)
    data = CaptionDataset(records, words, image_size=SIZE, fit=fit, features=features)
    square = prepare(torch.from_numpy(marked(*shape)).permute(2, 0, 1), SIZE, fit)
    white = (square.amin(0) > 180).float()
    trace = AttentionTrace(["spot"], F.avg_pool2d(white[None], SIZE // SIDE).flatten(1))
    assert trace.weights.max() > 0
    scores = Scores({}, {"x": {}}, {"x": "a spot"})
    (one,) = collect_examples(data, scores, 1, {"x": trace})
    return one


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def require_own_proportions(picture: Image.Image, shape: tuple[int, int]) -> None:
    """Check a shown picture's sides, its corner and its spot."""
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.02)
    scale = height / shape[0]
    at = [(round(y * scale), round(x * scale)) for y, x in ((20, 20), spot(*shape))]
    np.testing.assert_allclose(pixels[at[0]], (255, 0, 0), atol=12)
    np.testing.assert_allclose(pixels[at[1]], (255, 255, 255), atol=12)
    np.testing.assert_allclose(pixels[-5, -5], (90, 90, 90), atol=12)


def middle(light: np.ndarray) -> tuple[float, float]:
    """Return where an image (h,w) is lit, y and x as shares."""
    y, x = np.indices(light.shape)
    total = light.sum()
    return (y * light).sum() / total / len(light), (x * light).sum() / total / light.shape[1]


def laid(shade: Image.Image, style: str, shape: tuple[int, int]) -> np.ndarray:
    """Return how clear each pixel of a picture is under a shade that CSS places on it (h,w)."""
    left, top, width, height = (
        float(re.search(rf"(?:^|;){name}:(-?[\d.]+)%", style)[1]) / 100
        for name in ("left", "top", "width", "height")
    )
    clear = 210 - np.asarray(shade.convert("LA"))[..., 1].astype(float)
    light = np.zeros(shape)
    for y in range(shape[0]):
        for x in range(shape[1]):
            row, column = (y / shape[0] - top) / height, (x / shape[1] - left) / width
            if 0 <= row < 1 and 0 <= column < 1:
                light[y, x] = clear[int(row * len(clear)), int(column * clear.shape[1])]
    return light


@pytest.mark.parametrize("stored", [False, True], ids=["images", "stored"])
@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["wide", "tall"])
@pytest.mark.parametrize("fit", FITS)
def test_a_card_shows_the_picture_and_the_attention_in_its_place(
    tmp_path: Path, shape: tuple[int, int], fit: str, stored: bool
):
    page = card(example(tmp_path, shape, fit, stored))
    picture, shade = (decoded(uri) for uri in re.findall(r'src="([^"]+)"', page))
    require_own_proportions(picture, shape)
    width, height = map(int, re.search(r"--shape: (\d+) / (\d+)", page).groups())
    assert width / height == shape[1] / shape[0]
    style = re.search(r'<span><img alt="" style="([^"]+)"', page)[1]
    expected = [at / side for at, side in zip(spot(*shape), shape, strict=True)]
    assert middle(laid(shade, style, shape)) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["wide", "tall"])
@pytest.mark.parametrize("fit", FITS)
def test_a_dashboards_tile_is_bright_where_the_model_looked(
    tmp_path: Path, shape: tuple[int, int], fit: str
):
    one = example(tmp_path, shape, fit)
    white = np.full((*shape, 3), 255, np.uint8)
    tile = np.asarray(
        attention_picture(Example(white, "x", "a", attention=one.attention, words=["a"]))
    )
    height = len(tile) - LABEL
    light = tile[:height, : round(height * shape[1] / shape[0]), 0].astype(float)
    assert light.shape[1] / height == pytest.approx(shape[1] / shape[0], rel=0.02)
    expected = [at / side for at, side in zip(spot(*shape), shape, strict=True)]
    assert middle((light - light.min()) ** 2) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("fit", FITS)
def test_a_comparison_shows_the_picture_as_it_is(tmp_path: Path, fit: str):
    Image.fromarray(marked(*WIDE)).save(tmp_path / "x.jpg", quality=95)
    (tmp_path / "captions.csv").write_text("image,caption,split\nx.jpg,a red corner,test\n")
    source = {
        "_target_": "captionlab.data.readers.CsvCaptions",
        "root": str(tmp_path),
        "file": "captions.csv",
    }
    data = {
        "_target_": "captionlab.data.CaptionDataModule",
        "name": "x",
        "image_size": SIZE,
        "fit": fit,
        "source": source,
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    shown: list[dict[str, object]] = [{"id": "x.jpg"}, {"id": "x"}]
    add_pictures(shown, [SimpleNamespace(runs=[SimpleNamespace(path=tmp_path, finished=True)])], ())
    (uri,) = [one["src"] for one in shown if "src" in one]
    require_own_proportions(decoded(str(uri)), WIDE)
