"""Words of two factors: as large as those of one, in every decoder, and in its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.inference.weights import without_downloads
from captionlab.models.decoders.factorized_embedding import FactorizedEmbedding
from tests_support import SMALLER, tiny_config

WORDS = ("", "", "", "", *(f"w{i}" for i in range(200)))
SIZES = Sizes(len(WORDS), 0, WORDS)
MODELS = ["tiny", "att2in", "updown", "adaptive", "aoa", "transformer", "cvae"]


def config(*overrides: str) -> dict[str, Any]:
    model: dict[str, Any] = tiny_config(*overrides)["model"]
    return model


@pytest.mark.parametrize("name", MODELS)
def test_words_of_every_decoder_are_as_large_as_they_are_without(name: str):
    small = [f"model={name}", "model/encoder=small_cnn"]
    plain = build_captioner(config(*small), SIZES).decoder.words
    decoder = build_captioner(config(*small, "model.decoder.word_dim=5"), SIZES).decoder
    ids = torch.arange(4, len(WORDS))
    found = decoder.words(ids).square().mean().sqrt()
    assert found.item() == pytest.approx(plain(ids).square().mean().sqrt().item(), rel=0.5)
    assert decoder.words(ids).shape == plain(ids).shape
    assert decoder.words.table.weight.shape == (len(WORDS), 5)


def test_padding_is_zero_and_stays_so():
    words = FactorizedEmbedding(7, word_dim=2, embedding_dim=4, pad_id=0)
    words(torch.tensor([[0, 3]])).sum().backward()
    assert not words(torch.tensor([0])).any()
    assert not words.table.weight.grad[0].any()
    assert words.table.weight.grad[3].any()


def test_narrow_word_vectors_are_projected_and_a_checkpoint_needs_them_no_more(tmp_path: Path):
    (tmp_path / "glove.txt").write_text("w0 1 2 3\nw5 4 5 6\n")
    given = [f"model.decoder.embeddings={tmp_path / 'glove.txt'}", "model.decoder.word_dim=3"]
    model = config(*given)
    decoder = build_captioner(model, SIZES).decoder
    assert decoder.words.table.weight[9].tolist() == [4.0, 5.0, 6.0]
    with torch.device("meta"):  # as a checkpoint's model is outlined
        bare = build_captioner(without_downloads(model), SIZES).decoder
    assert {n: p.shape for n, p in bare.named_parameters()} == {
        n: p.shape for n, p in decoder.named_parameters()
    }


@pytest.mark.parametrize("given", ["embeddings=glove_6b_50d", "word_dim=50"])
def test_a_language_model_brings_words_of_its_own(given: str):
    small = ["model=gpt2", "model/encoder=small_cnn", *SMALLER["gpt2"]]
    with pytest.raises(UserError, match=r"decoder: \w+=\S+ is for .* LanguageModelDecoder brings"):
        build_captioner(config(*small, f"+model.decoder.{given}"), SIZES)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("word_dim=0", "model.decoder: word_dim=0 must be at least 1"),
        ("word_dim=wide", "word_dim='wide' must be a whole number"),
        ("word_dim=true", "word_dim=True must be a whole number"),
        ("word_dim=8 tie_weights=true", "leave one of them out"),
    ],
    ids=["zero", "text", "boolean", "tied"],
)
def test_what_cannot_be_factorized_is_refused(override: str, message: str):
    overrides = [f"model.decoder.{one}" for one in override.split()]
    with pytest.raises(UserError, match=message):
        build_captioner(config(*overrides), SIZES)
