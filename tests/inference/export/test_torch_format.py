"""Programs of torch.export: the captions of the checkpoint, in a process that has no captionlab."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from captionlab import load_captioner
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.export.caption_torch import pixels
from captionlab.inference.export.write import ExportSettings, write_export
from hostile_support import honest
from tests_support import HANG

FIXTURES = Path(__file__).parents[2] / "fixtures" / "checkpoints"
PICTURES = sorted((FIXTURES / "pictures").iterdir())
ALONE = """
import runpy, sys
sys.modules["captionlab"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def captions(folder: Path, *words: str) -> list[str]:
    """Return what the runner of a folder prints for the pictures, without captionlab."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder / "caption_torch.py"), *words],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.split("\t")[1] for line in done.stdout.splitlines()]


def exported(name: str, folder: Path) -> Path:
    checkpoint = read_checkpoint(FIXTURES / f"{name}.ckpt")
    write_export(checkpoint, folder, ExportSettings("torch"))
    return folder


def test_the_others_are_captioned_where_a_file_is_no_photograph(tmp_path: Path):
    folder = exported("lstm", tmp_path / "out")
    command = [sys.executable, "-I", str(folder / "caption_torch.py")]
    files = [str(folder), str(folder / "captionlab.json"), str(PICTURES[0])]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    assert f"error: {folder}: Is a directory" in done.stderr.splitlines()
    beams = subprocess.run(
        [*command, "--beam", "0", files[2]], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (beams.returncode, "say a number from 1 to 64" in beams.stderr) == (2, True)


def require_equal(name: str, folder: Path) -> None:
    paths = [str(path) for path in PICTURES]
    assert captions(exported(name, folder), *paths) == load_captioner(
        FIXTURES / f"{name}.ckpt"
    ).batch(PICTURES)


def test_programs_caption_as_their_checkpoint(tmp_path: Path):
    require_equal("lstm", tmp_path / "out")
    text = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert str(Path.cwd()).encode() not in text, "a folder of this machine"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({path.stem for path in FIXTURES.glob("*.ckpt")} - {"lstm"}))
def test_every_family_has_programs(name: str, tmp_path: Path):
    require_equal(name, tmp_path / "out")


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_a_precision_that_programs_lack_is_refused(precision: str, tmp_path: Path):
    torch.save(honest(), tmp_path / "best.ckpt")
    checkpoint = read_checkpoint(tmp_path / "best.ckpt")
    with pytest.raises(UserError, match="--format onnx"):
        write_export(checkpoint, tmp_path / "out", ExportSettings("torch", precision))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16", "F", "CMYK", "1"])
def test_pictures_are_seen_as_captionlab_sees_them(fit: str, mode: str, tmp_path: Path):
    loaded = load_captioner(FIXTURES / "lstm.ckpt")
    loaded.config = {"data": {"fit": fit}}
    noise = Image.effect_noise((150, 90), 90).convert("L")
    image = noise.convert("I;16") if mode == "I;16" else noise.convert("RGB").convert(mode)
    path = tmp_path / "photo.tiff"
    image.save(path)
    size = loaded.captioner.encoder.image_size
    assert torch.equal(pixels(path, size, fit)[0], loaded.prepare(path))


def test_a_turned_jpeg_is_seen_upright(tmp_path: Path):
    loaded = load_captioner(FIXTURES / "lstm.ckpt")
    image = Image.effect_noise((900, 700), 90).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "photo.jpg", exif=exif)
    size = loaded.captioner.encoder.image_size
    assert torch.equal(
        pixels(tmp_path / "photo.jpg", size, "stretch")[0], loaded.prepare(tmp_path / "photo.jpg")
    )


@pytest.mark.slow
def test_one_beam_is_greedy(tmp_path: Path):
    exported("lstm", tmp_path / "out")
    greedy = captions(tmp_path / "out", *map(str, PICTURES), "--beam", "1")
    loaded = load_captioner(FIXTURES / "lstm.ckpt", decoding=["decoding=greedy"])
    assert greedy == loaded.batch(PICTURES)


@pytest.mark.slow
def test_the_list_tells_inputs_and_outputs(tmp_path: Path):
    entry = json.loads((exported("latent", tmp_path / "out") / "captionlab.json").read_text())[
        "torch"
    ]
    assert set(entry["programs"]) == {"encoder", "begin", "step"}
    assert entry["noise"] > 0
    assert entry["programs"]["encoder"]["outputs"][:3] == ["slots", "pooled", "mask"]
