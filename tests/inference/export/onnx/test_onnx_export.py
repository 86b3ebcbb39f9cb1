"""An exported captioner is the captioner: its logits, its captions, its words' attention."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.decoding import Beam, Greedy, Sampling
from captionlab.decoding.captions import generate
from captionlab.inference.export.onnx import OnnxCaptioner
from captionlab.inference.export.onnx.precision import lowered
from captionlab.inference.export.onnx.storage import save_graphs
from captionlab.models.captioner import Captioner
from captionlab.text.prompts import Prompt
from captionlab.text.tokenizers import Tokenizer
from onnx_support import export, loaded_of, opened, random_images, small_preset
from tests_support import PRESETS, tiny_captioner

METHODS = (Greedy(max_length=7), Beam(beam_size=3, max_length=7, num_captions=3))


def require_same(
    captioner: Captioner,
    folder: Path,
    images: torch.Tensor,
    tokenizer: Tokenizer | None = None,
    atol: float = 1e-4,
) -> None:
    """Hold an export to its captioner: logits and weights step by step, captions and scores."""
    exported = opened(folder)
    tokenizer = loaded_of(captioner).tokenizer if tokenizer is None else tokenizer
    with torch.inference_mode():
        memory, theirs = captioner.encode(images), exported.encode(images)
        ours, state = captioner.init_state(memory, 2), exported.init_state(theirs, 2)
        tokens = torch.randint(4, 11, (7, len(images), 2)).index_fill_(0, torch.tensor(0), 1)
        swap = torch.tensor([[1, 0]]).expand(len(images), -1)
        for token in tokens:
            expected, ours = captioner.step(token, ours)
            found, state = exported.step(token, state)
            torch.testing.assert_close(found, expected, atol=atol, rtol=1e-4)
            if ours.weights is not None:
                torch.testing.assert_close(state.weights, ours.weights, atol=1e-5, rtol=1e-4)
            ours, state = ours.select(swap), state.select(swap)
        last = torch.tensor([len(images) - 1])
        expected, _ = captioner.step(tokens[1, last], ours.take(last))
        found, _ = exported.step(tokens[1, last], state.take(last))
        torch.testing.assert_close(found, expected, atol=atol, rtol=1e-4)
        for method in METHODS:
            captions, generated = generate(captioner, memory, method, tokenizer)
            again, repeated = generate(exported, theirs, method, tokenizer)
            assert again == captions
            torch.testing.assert_close(repeated.scores, generated.scores, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("images", [1, 3])
def test_an_export_is_its_captioner_for_any_number_of_images(small, images):
    require_same(
        small.loaded.captioner, small.folder, random_images(images), small.loaded.tokenizer
    )


@pytest.mark.slow
@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"tiny"}))
def test_every_preset_is_exported(preset, tmp_path):
    captioner = small_preset(preset)
    export(loaded_of(captioner), tmp_path)
    for images in (1, 3):
        require_same(captioner, tmp_path, random_images(images))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("model/attention=gated_additive",),
        ("model/attention=multi_head",),
        ("model.decoder.layers=2", "model.decoder.attend=after"),
        ("model.decoder.cell=gru",),
        ("model/encoder=small_cnn", "model.encoder.mask_padding=true"),
        (
            "model/connector=qformer",
            *("model.connector.num_queries=4", "model.connector.width=16"),
            *("model.connector.heads=2", "model.connector.feed_forward=32"),
        ),
    ],
)
def test_options_of_a_recurrent_captioner_are_exported(overrides, tmp_path):
    captioner = small_preset("tiny", *overrides)
    export(loaded_of(captioner), tmp_path)
    # rounding grows from step to step where random weights are large
    require_same(captioner, tmp_path, random_images(3), atol=1e-3)


@pytest.mark.slow
def test_a_latent_captioner_samples_what_it_samples_in_torch(tmp_path):
    captioner = small_preset("cvae")
    export(loaded_of(captioner), tmp_path)
    images, exported = random_images(2), opened(tmp_path)
    for method in (Sampling(num_samples=3, seed=1, max_length=7),):
        tokenizer = loaded_of(captioner).tokenizer
        with torch.inference_mode():
            captions, _ = generate(captioner, captioner.encode(images), method, tokenizer)
            assert generate(exported, exported.encode(images), method, tokenizer)[0] == captions


def test_a_beginning_is_read_word_by_word(small):
    images, prompt = random_images(2), Prompt(beginning="the red dog")
    captions = small.loaded.caption(images, prompt)
    other = loaded_of(opened(small.folder), small.loaded.tokenizer)
    assert other.caption(images, prompt) == captions
    assert captions[0].startswith("the red dog")


def test_graphs_tell_nothing_of_the_machine_that_wrote_them(small):
    for path in small.folder.glob("*.onnx"):
        assert b"captionlab/" not in path.read_bytes()
        assert b".py" not in path.read_bytes()


def test_weights_that_graphs_share_are_stored_once(small):
    state = small.loaded.captioner.state_dict().values()
    weights = sum(t.numel() * t.element_size() for t in state)
    assert (small.folder / "weights.bin").stat().st_size <= weights + 64 * 100


def lower(folder: Path, place: Path, precision: str, images: list[torch.Tensor]) -> OnnxCaptioner:
    """Return the captioner of an export whose weights were given another precision."""
    shutil.copytree(folder, place)
    models = {
        name: onnx.load(str(folder / f"{name}.onnx")) for name in ("encoder", "begin", "step")
    }
    save_graphs(lowered(models, precision, images), place)
    return opened(place)


@pytest.mark.parametrize(("precision", "share"), [("float16", 0.55), ("int8", 0.5)])
def test_smaller_weights_make_nearly_the_same_memory(small, tmp_path, precision, share):
    images = random_images(8)
    exported = lower(small.folder, tmp_path / "lower", precision, list(images))
    size = (tmp_path / "lower" / "weights.bin").stat().st_size
    assert size < share * (small.folder / "weights.bin").stat().st_size
    expected = small.loaded.captioner.encode(images).slots
    assert (exported.encode(images).slots - expected).abs().mean() < 0.1 * expected.abs().mean()
    captions = loaded_of(exported, small.loaded.tokenizer).caption(images)
    assert len(captions) == 8


def test_int8_asks_for_photographs_where_there_are_convolutions(small, tmp_path):
    with pytest.raises(UserError, match="--calibration FOLDER"):
        lower(small.folder, tmp_path / "lower", "int8", [])


@pytest.mark.parametrize("choice", ["model=nearest", "model/retrieval=captions"])
def test_a_captioner_that_looks_captions_up_says_that_it_cannot(tmp_path, choice):
    captioner = tiny_captioner(choice, "model/encoder=small_cnn")
    with pytest.raises(UserError, match=r"looks captions up .* --format safetensors"):
        export(loaded_of(captioner.eval()), tmp_path)


@pytest.mark.slow
def test_a_caption_beyond_the_positions_is_refused_as_in_torch(tmp_path):
    captioner = small_preset("transformer", "model.decoder.max_length=9")
    export(loaded_of(captioner), tmp_path)
    long = Greedy(max_length=12, min_length=12)
    for loaded in (loaded_of(captioner, decoding=long), loaded_of(opened(tmp_path), decoding=long)):
        with pytest.raises(UserError, match="a caption of 10 tokens"):
            loaded.caption(random_images(1))
