"""The script in an exported folder captions as captionlab does, without torch and without captionlab."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from captionlab.data.images.files import load_image
from captionlab.data.images.prepare import prepare
from captionlab.decoding import Beam, Greedy, Sampling
from captionlab.inference.export.onnx import write
from captionlab.inference.export.onnx.runner import runner_settings, subword_texts
from captionlab.text.prompts import Prompt
from captionlab.text.tokenizers import CharacterTokenizer, SubwordTokenizer, WordTokenizer
from onnx_support import export, loaded_of, save_photos, small_preset

SCRIPT = Path(write.__file__).with_name("caption.py")
# captionlab and what the script must do without cannot be imported
ALONE = (
    "import runpy, sys\n"
    "for name in ('torch', 'captionlab', 'onnx', 'tokenizers', 'transformers'):\n"
    "    sys.modules[name] = None\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", ALONE, folder / "caption.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def captions(folder: Path, *arguments: object) -> list[str]:
    done = run(folder, *arguments)
    assert done.returncode == 0, done.stderr
    return [line.split("\t")[1] for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported_caption", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_is_short():
    assert len(SCRIPT.read_text().splitlines()) < 150


def test_beams_and_prompts_give_the_captions_of_torch(small):
    loaded, folder, photos = small
    assert captions(folder, *photos) == loaded.batch(photos)
    prompt = Prompt("the red dog?", "terse", "en", "a cat")
    options = ("--question", "the red dog?", "--style", "terse", "--language", "en")
    asked = captions(folder, photos[0], *options, "--begin", "a cat")
    assert asked == loaded.batch(photos[:1], prompt)


def test_one_beam_is_greedy(small):
    loaded, folder, photos = small
    greedy = loaded_of(loaded.captioner, loaded.tokenizer, Greedy(max_length=7), fit="pad")
    assert captions(folder, *photos, "--beam", 1) == greedy.batch(photos)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--style", "ornate"), r"style 'ornate': this captioner knows \['terse'\]"),
        (("--begin", "a zebra"), "'a zebra': caption.py, or the captioner, does not know"),
        (("--question", "quo vadis"), "'quo vadis': caption.py, or the captioner, does not know"),
        (("--begin", "日本"), "'日本': caption.py, or the captioner, does not know"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(small, script, options, message):
    _, folder, photos = small
    asked = {options[0].removeprefix("--"): options[1]}
    with pytest.raises(ValueError, match=message):
        script.Captioner(folder)(photos[0], **asked)


def test_the_others_are_captioned_where_a_file_is_no_photograph(small):
    _, folder, photos = small
    done = run(folder, folder / "captionlab.json", folder, photos[0])
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    bad, directory = done.stderr.splitlines()
    assert "captionlab.json: cannot identify" in bad
    assert directory == f"error: {folder}: Is a directory"


@pytest.mark.parametrize("beams", [0, 99999])
def test_beams_are_bounded(small, beams):
    _, folder, photos = small
    done = run(folder, photos[0], "--beam", beams)
    assert done.returncode == 2
    assert "say a number from 1 to 64" in done.stderr


def test_a_reader_that_has_gone_ends_it_without_blaming_a_photograph(small):
    _, folder, photos = small
    read, write_end = os.pipe()
    os.close(read)
    command = [sys.executable, "-I", "-c", ALONE, str(folder / "caption.py"), str(photos[0])]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["transformer", "cvae", "gpt2", "prefix"])
def test_every_kind_of_state_is_carried_on(preset, tmp_path):
    loaded = loaded_of(small_preset(preset), fit="crop")
    export(loaded, tmp_path)
    photos = save_photos(tmp_path)
    assert captions(tmp_path, *photos) == loaded.batch(photos)


def test_squares_are_those_of_captionlab_to_the_bit(script):
    generator = np.random.default_rng(0)
    for height, width in generator.integers(1, 400, (40, 2)):
        image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        for fit, size in (("stretch", 32), ("crop", 224), ("pad", 33)):
            square = script.square(image, size, fit)[0]
            assert np.array_equal(square, prepare(tensor, size, fit).numpy())


@pytest.mark.parametrize(
    ("mode", "orientation"),
    [(m, o) for m in ("RGB", "L", "RGBA", "LA", "P", "I;16", "1") for o in (1, 6)]
    + [(m, 1) for m in ("CMYK", "I", "F")],  # as TIFF, which pillow turns by itself
)
def test_pictures_of_every_mode_are_read_as_captionlab_reads_them(
    script, tmp_path, mode, orientation
):
    values = np.random.default_rng(0).integers(0, 256, (70, 50, 4), dtype=np.uint8)
    color = Image.fromarray(values, "RGBA")
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    image = (
        Image.fromarray(values[..., 0].astype(deep[mode]) * deep[mode](100))
        if mode in deep
        else color.convert(mode)
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / ("a.tif" if mode in ("CMYK", "F", "I") else "a.png")
    image.save(path, exif=exif)
    assert np.array_equal(script.load(path, 32), load_image(path, size=32).permute(1, 2, 0))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_large_jpeg_with_a_damaged_exif_is_read_as_captionlab_reads_it(script, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    big = Image.fromarray(values).resize((900, 700))
    big.save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff nonsense")
    read = script.load(path, 32)
    assert max(read.shape) < 300
    assert np.array_equal(read, load_image(path, size=32).permute(1, 2, 0))


def test_limits_that_it_does_not_know_are_named():
    for decoding in (
        Sampling(),
        Beam(beam_size=4, groups=2, num_captions=2),
        Greedy(no_repeat_ngram=3),
    ):
        settings = runner_settings(loaded_of(torch.nn.Identity(), decoding=decoding))
        assert settings["beams"] is None
        assert "caption.py knows nothing: say --beam N" in settings["reason"]


def read_by(script: ModuleType, tokenizer, text: str, every: bool = False) -> list[int]:
    captioner = script.Captioner.__new__(script.Captioner)
    captioner.rules = runner_settings(loaded_of(torch.nn.Identity(), tokenizer))
    captioner.ids = {p.strip(): i for i, p in enumerate(captioner.rules["pieces"])}
    return captioner.encode(text, every)


def joined_by(tokenizer, ids: list[int]) -> str:
    rules = json.loads(json.dumps(runner_settings(loaded_of(torch.nn.Identity(), tokenizer))))
    text = "".join(rules["pieces"][i] for i in ids)
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "ignore")
    return " ".join(re.sub(rules["unspaced"], "", text).split())


def test_plain_english_is_split_as_the_word_tokenizer_splits_it(script):
    texts = [
        "What color is the cat's ball?", "isn't it red, or can't you see?", "I cannot tell",
        "a man in a t-shirt, he'll run", "is it 3 o 4", "gonna sit", "They don't want the dogs",
    ]  # fmt: skip
    tokenizer = WordTokenizer.fit(texts, threshold=1)
    for text in texts:
        assert read_by(script, tokenizer, text) == tokenizer.encode(text)


def test_every_tokenizer_writes_its_text(script):
    texts = [
        "ein Mädchen läuft",
        "two dogs, and a café",
        "一只狗 in the 公园 with two cats",
        "🙂 ok",
    ]
    subword = SubwordTokenizer.fit(texts * 3, size=320)
    character = CharacterTokenizer.fit(texts, threshold=1)
    for tokenizer in (subword, character, WordTokenizer.fit(texts, threshold=1)):
        for text in texts:
            ids = tokenizer.encode(text)
            assert joined_by(tokenizer, ids) == tokenizer.decode(ids)
            assert joined_by(tokenizer, ids[1:-1]) == tokenizer.decode(ids[1:-1])


def test_word_pieces_are_joined_and_special_ones_left_out():
    vocabulary = {"[CLS]": 0, "a": 1, "##bc": 2, ".": 3, "dog": 4}
    pieces = {
        "model": {"vocab": vocabulary},
        "decoder": {"type": "WordPiece"},
        "added_tokens": [{"content": "[CLS]", "id": 0, "special": True}],
    }
    assert "".join(subword_texts(pieces)) == " abc. dog"
