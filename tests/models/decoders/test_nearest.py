"""Nearest neighbors: every decoding writes the consensus caption, and all of it is a distribution."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.decoding.beam import Beam
from captionlab.decoding.ensemble import Ensemble
from captionlab.decoding.greedy import Greedy
from captionlab.decoding.sampling import Sampling
from captionlab.inference.bounds import require_bounded
from captionlab.models.attention.base import NoAttention
from captionlab.models.attention.dot import DotAttention
from captionlab.models.captioner import Captioner
from captionlab.models.decoders import nearest as nearest_module
from captionlab.models.decoders.nearest import NearestDecoder
from tests_support import tiny_captioner, tiny_preset

SPECIAL = {"bos_id": 1, "eos_id": 2, "pad_id": 0, "banned_ids": (3,)}
DIM, VOCABULARY = 6, 12
# images 0 to 2 look alike, and so do 3 to 5
CAPTIONS = [
    [[4, 5, 6], [4, 5, 7, 8]],
    [[4, 5, 7], [9]],
    [[3, 5, 7], []],
    [[8, 9, 10, 11, 10, 11], [8, 9, 10]],
    [[8, 9, 10, 11], [3]],
    [[9, 10, 11]],
]
FEATURES = torch.eye(DIM)[[0, 0, 0, 1, 1, 1]] + 0.01 * torch.arange(36.0).view(6, 6)


def nearest(**settings) -> NearestDecoder:
    settings = {"neighbors": 3, "consensus": 3, **settings}
    decoder = NearestDecoder(
        **settings,
        vocabulary_size=VOCABULARY,
        pad_id=0,
        memory_dim=DIM,
        attention=NoAttention(query_dim=1, memory_dim=DIM),
    )
    decoder.index.set_captions(CAPTIONS)
    decoder.index.set_features([FEATURES])
    return decoder.eval()


def memory() -> Memory:
    pooled = torch.eye(DIM)[:2]
    return Memory(pooled[:, None], pooled, torch.ones(2, 1, dtype=torch.bool))


def said(tokens: torch.Tensor) -> list[list[int]]:
    return [[i for i in ids if i] for ids in tokens.flatten(0, -2).tolist()]


def best(decoder: NearestDecoder) -> list[list[int]]:
    ranked = decoder.retrieve(memory())
    pairs = zip(ranked.tokens[:, 0].tolist(), ranked.lengths[:, 0].tolist(), strict=True)
    return [ids[:length] for ids, length in pairs]


@pytest.mark.parametrize("score", ["cider", "bleu"])
@pytest.mark.parametrize(
    "method",
    [Greedy(), Beam(beam_size=1), Beam(beam_size=4, length_penalty=1.0), Sampling(temperature=0.2)],
    ids=str,
)
def test_every_decoding_writes_the_consensus_caption(method, score: str):
    decoder = nearest(score=score)
    written = method(decoder, memory(), **SPECIAL).tokens[:, :1]
    assert said(written) == best(decoder)
    assert best(decoder)[0] in ([4, 5, 7, 2], [4, 5, 6, 2])
    assert best(decoder)[1] == [8, 9, 10, 11, 2]


def test_beams_list_the_captions_in_the_order_of_their_consensus():
    decoder = nearest()
    ranked = decoder.retrieve(memory())
    found = Beam(beam_size=6, num_captions=3)(decoder, memory(), **SPECIAL)
    for image in range(2):
        expected = [ranked.tokens[image, r, : ranked.lengths[image, r]].tolist() for r in range(3)]
        assert said(found.tokens[image : image + 1]) == expected


def test_captions_with_an_unknown_word_or_without_a_word_are_not_written():
    ranked = nearest().retrieve(memory())
    # of ten candidates, two have an unknown word and one has none
    assert (ranked.lengths > 0).sum(1).tolist() == [4, 4]
    assert not (ranked.tokens == 3).any()


def test_steps_say_what_teacher_forcing_says():
    decoder = nearest()
    captions = [[1, 4, 5, 7, 2, 0, 0], [1, 8, 9, 10, 11, 10, 11], [1, 6, 6, 6, 6, 6, 6]]
    tokens = torch.tensor(captions).expand(2, 3, 7)
    hidden = decoder(memory(), tokens).hidden
    assert hidden.shape == (2, 3, 7, decoder.output_dim)
    state = decoder.init_state(memory(), 3)
    for step in range(7):
        logits, state = decoder.step(tokens[..., step], state)
        torch.testing.assert_close(logits, decoder.logits(hidden[:, :, step]))
        torch.testing.assert_close(logits.exp().sum(-1), torch.ones(2, 3))
        assert logits.isfinite().all()


def test_beams_are_told_apart_when_they_change_places():
    decoder = nearest()
    _, state = decoder.step(torch.full((2, 2), 1), decoder.init_state(memory(), 2))
    words = torch.tensor([[4, 9], [8, 9]])
    logits, state = decoder.step(words, state)
    turned = state.select(torch.tensor([[1, 0], [1, 0]]))
    following = logits.argmax(-1)
    after, _ = decoder.step(following, state)
    swapped, _ = decoder.step(following.flip(1), turned)
    torch.testing.assert_close(swapped, after.flip(1))
    assert not torch.equal(after[0, 0], after[0, 1])


def test_a_batch_is_looked_up_once_and_another_one_anew(monkeypatch):
    decoder = nearest()
    calls = []
    search = decoder.index.nearest
    monkeypatch.setattr(decoder.index, "nearest", lambda *a: calls.append(a) or search(*a))
    one = memory()
    decoder.init_state(one, 1)
    decoder(one, torch.ones(2, 1, 3, dtype=torch.long))
    assert len(calls) == 1
    decoder.init_state(memory(), 1)
    assert len(calls) == 2
    decoder.index.set_features([FEATURES.flip(0)])
    assert best(decoder)[0] == [8, 9, 10, 11, 2]


def test_it_writes_with_others():
    learned = tiny_preset("show_tell", vocabulary=VOCABULARY)
    captioner = tiny_captioner("model=nearest", "model/encoder=small_cnn", vocabulary=VOCABULARY)
    fill(captioner)
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    ensemble = Ensemble([captioner, learned])
    tokens = Greedy(max_length=4)(ensemble, ensemble.encode(images), **SPECIAL).tokens
    assert tokens.shape[:2] == (2, 1)


def fill(captioner: Captioner) -> None:
    captioner.decoder.index.set_captions(CAPTIONS)
    captioner.decoder.index.set_features([torch.randn(6, captioner.encoder.dim)])


def test_nothing_of_the_model_learns():
    captioner = tiny_captioner("model=nearest", "model/encoder=small_cnn")
    assert not any(p.requires_grad for p in captioner.parameters())
    with pytest.raises(UserError, match=r"model/connector begins with random weights"):
        tiny_captioner("model=nearest", "model/encoder=small_cnn", "model/connector=linear")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neighbors": 0}, "neighbors=0 must be at least 1"),
        ({"consensus": 0}, "consensus=0 must be at least 1"),
        ({"score": "ciderr"}, "did you mean 'cider'"),
        ({"index": [1, 2]}, r"index=\[1, 2\]"),
    ],
)
def test_values_that_cannot_be_are_said(settings: dict, message: str):
    with pytest.raises(UserError, match=message):
        nearest(**settings)


def test_an_attention_is_refused():
    with pytest.raises(UserError, match="say model/attention=none"):
        NearestDecoder(
            vocabulary_size=9,
            pad_id=0,
            memory_dim=4,
            attention=DotAttention(query_dim=4, memory_dim=4),
        )


def test_more_candidates_than_can_be_compared_are_refused(monkeypatch):
    """Of a checkpoint of somebody's: memory goes with their square."""
    monkeypatch.setattr(nearest_module, "MOST_CANDIDATES", 5)
    with pytest.raises(UserError, match=r"3 nearest images have 6 captions.*neighbors"):
        nearest().retrieve(memory())
    assert nearest(neighbors=2).retrieve(memory()).lengths.any()


def test_an_index_of_millions_of_captions_may_stand_in_a_file():
    """Its sizes are those of the file's own tensors: no other number of a model is so large."""
    decoder = {"index": [3_000_000, 3_000_000, 34_000_000]}
    require_bounded({"decoder": decoder}, Path("best.ckpt"))
    with pytest.raises(UserError, match=r"neighbors=34000000 is more"):
        require_bounded({"decoder": {**decoder, "neighbors": 34_000_000}}, Path("best.ckpt"))
