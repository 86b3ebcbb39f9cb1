"""An exported captioner is the captioner: its logits, its captions, its words' attention."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.decoding import Beam, Greedy, Sampling
from captionlab.decoding.captions import generate
from captionlab.models.captioner import Captioner
from captionlab.text.prompts import Prompt
from onnx_support import export, loaded_of, opened, random_images, save_photos, small_preset
from tests_support import PRESETS, tiny_captioner

METHODS = (Greedy(max_length=7), Beam(beam_size=3, max_length=7, num_captions=3))


@pytest.fixture(scope="module")
def tiny() -> Captioner:
    return small_preset("tiny")


@pytest.fixture(scope="module")
def folder(tiny: Captioner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export")
    export(loaded_of(tiny), place)
    return place


def require_same(captioner: Captioner, folder: Path, images: torch.Tensor) -> None:
    """Hold an export to its captioner: logits and weights step by step, captions and scores."""
    exported, tokenizer = opened(folder), loaded_of(captioner).tokenizer
    with torch.inference_mode():
        memory, theirs = captioner.encode(images), exported.encode(images)
        ours, state = captioner.init_state(memory, 2), exported.init_state(theirs, 2)
        tokens = torch.randint(4, 11, (7, len(images), 2)).index_fill_(0, torch.tensor(0), 1)
        swap = torch.tensor([[1, 0]]).expand(len(images), -1)
        for token in tokens:
            expected, ours = captioner.step(token, ours)
            found, state = exported.step(token, state)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
            if ours.weights is not None:
                torch.testing.assert_close(state.weights, ours.weights, atol=1e-5, rtol=1e-4)
            ours, state = ours.select(swap), state.select(swap)
        for method in METHODS:
            captions, generated = generate(captioner, memory, method, tokenizer)
            again, repeated = generate(exported, theirs, method, tokenizer)
            assert again == captions
            torch.testing.assert_close(repeated.scores, generated.scores, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("images", [1, 3])
def test_an_export_is_its_captioner_for_any_number_of_images(tiny, folder, images):
    require_same(tiny, folder, random_images(images))


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
        ("model/connector=qformer", "model.connector.queries=4"),
        ("model/encoder=small_cnn", "model.encoder.mask_padding=true"),
    ],
)
def test_options_of_a_recurrent_captioner_are_exported(overrides, tmp_path):
    captioner = small_preset("tiny", *overrides)
    export(loaded_of(captioner), tmp_path)
    require_same(captioner, tmp_path, random_images(3))


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


def test_a_beginning_is_read_word_by_word(tiny, folder):
    images, prompt = random_images(2), Prompt(beginning="the red dog")
    captions = loaded_of(tiny).caption(images, prompt)
    assert loaded_of(opened(folder)).caption(images, prompt) == captions
    assert captions[0].startswith("the red dog")


def test_graphs_tell_nothing_of_the_machine_that_wrote_them(folder):
    for path in folder.glob("*.onnx"):
        assert b"captionlab/" not in path.read_bytes()
        assert b".py" not in path.read_bytes()


def test_weights_that_graphs_share_are_stored_once(tiny, folder):
    stored = sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".py")
    weights = sum(t.numel() * t.element_size() for t in tiny.state_dict().values())
    assert (folder / "weights.bin").stat().st_size <= weights + 64 * 100
    assert stored < weights + 100_000  # of graphs


def test_float16_stores_halves_and_keeps_the_captions_close(tiny, folder, tmp_path):
    export(loaded_of(tiny), tmp_path, precision="float16")
    size = (tmp_path / "weights.bin").stat().st_size
    assert size < 0.55 * (folder / "weights.bin").stat().st_size
    images = random_images(3)
    memory = tiny.encode(images)
    found = opened(tmp_path).encode(images)
    torch.testing.assert_close(found.slots, memory.slots, atol=2e-2, rtol=2e-2)


def test_int8_has_a_quarter_of_the_size_and_asks_for_photographs(tiny, folder, tmp_path):
    with pytest.raises(UserError, match="--calibration FOLDER"):
        export(loaded_of(tiny), tmp_path, precision="int8")
    photos = save_photos(tmp_path, 4)
    place = tmp_path / "int8"
    export(loaded_of(tiny), place, precision="int8", calibration_images=photos)
    size = (place / "weights.bin").stat().st_size
    assert size < 0.5 * (folder / "weights.bin").stat().st_size
    memory = opened(place).encode(random_images(3))
    close = (memory.slots - tiny.encode(random_images(3)).slots).abs().mean()
    assert close < 0.1 * memory.slots.abs().mean()


def test_a_captioner_that_looks_captions_up_says_that_it_cannot(tmp_path):
    captioner = tiny_captioner("model=nearest", "model/encoder=small_cnn")
    with pytest.raises(UserError, match=r"looks its captions up .* --format safetensors"):
        export(loaded_of(captioner.eval()), tmp_path)


def test_a_decoder_that_torch_cannot_follow_is_named(tmp_path):
    captioner = small_preset("tiny")
    step = captioner.decoder.step
    captioner.decoder.step = lambda tokens, state: step(tokens[: int(tokens.sum())], state)
    with pytest.raises(UserError, match="RecurrentDecoder cannot be exported to ONNX"):
        export(loaded_of(captioner), tmp_path)
