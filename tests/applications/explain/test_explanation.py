"""Likelihoods, gradients and whole explanations of small models of every family."""

import pytest
import torch
from torch import nn

from captionlab.applications.explain.explanation import Explainer
from captionlab.applications.explain.gradients import integrated_gradients
from captionlab.applications.explain.likelihood import CaptionLikelihood, gradients_of_pictures
from captionlab.applications.explain.saliency import Settings
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.decoding import Greedy
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.models.encoders.image_encoder import TrunkEncoder
from captionlab.models.encoders.stored import StoredEncoder
from captionlab.text.tokenizers import WordTokenizer
from tests_support import PRESETS, tiny_preset

TOKENS = (4, 5, 6, 7)
TOKENIZER = WordTokenizer.fit(["red star ring dog cat sun moon"] * 2, threshold=1)


def picture(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=generator)


def loaded(model, **changes) -> LoadedCaptioner:
    config = {"data": {}, "model": {}, "decoding": {}}
    return LoadedCaptioner(model, TOKENIZER, Greedy(max_length=4), config, **changes)


@pytest.mark.parametrize("preset", ["tiny", "transformer"])
def test_likelihood_equals_the_forward_pass_behind_a_prompt(preset: str):
    model, pictures = tiny_preset(preset), torch.stack([picture(0), picture(1)])
    likelihood = CaptionLikelihood(model, TOKENS, given=(9, 8), bos_id=1)
    inputs = torch.tensor([1, 9, 8, 4, 5, 6]).expand(2, 1, -1)
    logits = model.logits(model(pictures, inputs).hidden)[:, 0, 2:]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(TOKENS).expand(2, 4)[..., None])
    torch.testing.assert_close(likelihood(pictures), expected[..., 0])
    torch.testing.assert_close(likelihood(pictures, 2), expected[:, :2, 0])


# hard attention jumps from slot to slot, where nothing can be integrated
@pytest.mark.parametrize("preset", sorted({*PRESETS} - {"hard_attn"}))
def test_integrated_gradients_sum_up_to_the_difference(preset: str):
    pytest.importorskip("captum")
    model = tiny_preset(preset)
    for name, parameter in model.named_parameters():
        if name.endswith("cross.gate"):
            parameter.data.fill_(0.8)  # a language model would not look yet
    likelihood = CaptionLikelihood(model, TOKENS[:3], bos_id=1)
    found = integrated_gradients(lambda images: likelihood(images)[:, 2], picture(), steps=24)
    assert found.map.abs().sum() > 0
    # a language model's least score, which stands for pad and bos, has no gradient of its own
    tolerance = 8e-3 if preset == "gpt2" else 0.03 * abs(found.total) + 2e-3
    assert found.map.sum().item() == pytest.approx(found.total, abs=tolerance)
    assert found.error == pytest.approx(found.map.sum().item() - found.total)


class Frozen(TrunkEncoder):
    def __init__(self) -> None:
        super().__init__(dim=4, image_size=32, learning_rate=None, mean=[0.5] * 3, std=[0.5] * 3)
        self.adopt(nn.Conv2d(3, 4, 8, stride=8), "none", [])

    def forward(self, images):
        with self.learning():
            slots = self.trunk(self.normalize(images)).flatten(2).transpose(1, 2)
        return self.memory(images, slots, slots.mean(1))


def test_gradients_pass_through_a_frozen_encoder_and_it_stays_one():
    encoder = Frozen()
    pictures = picture()[None].float().div(255).requires_grad_()
    with gradients_of_pictures(encoder):
        encoder(pictures).pooled.sum().backward()
    assert pictures.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert not encoder(pictures).pooled.requires_grad


@pytest.mark.parametrize("preset", ["tiny", "show_tell", "cvae"])
def test_explanation_has_a_map_of_each_word_by_each_method(preset: str):
    explainer = Explainer(loaded(tiny_preset(preset)), settings=Settings(masks=20, steps=4))
    explanation = explainer(picture(), caption="red star")
    assert [one.text for one in explanation.words] == ["red", "star"]
    methods = {one.method for word in explanation.words for one in word.saliencies}
    attends = preset != "show_tell"
    assert methods == {"occlusion", "integrated_gradients"} | ({"attention"} if attends else set())
    assert ("attention" in explanation.missing) is not attends
    for word in explanation.words:
        for one in word.saliencies:
            assert one.map.shape == (32, 32)
            # the curves begin and end with the picture and with gray
            assert one.curves.deletion.values[0] == pytest.approx(word.probability, rel=1e-4)
            assert one.curves.deletion.values[-1] == pytest.approx(word.without, rel=1e-4)
            assert one.curves.insertion.values[-1] == pytest.approx(word.probability, rel=1e-4)


def test_a_picture_is_encoded_once_and_each_part_is_reported():
    captioner = loaded(tiny_preset("tiny"))
    explainer = Explainer(captioner, ("attention",), Settings(curves=False))
    encoded, parts = [], []
    captioner.captioner.encoder.register_forward_hook(lambda *_: encoded.append(1))
    explainer(picture(), report=parts.append)
    # for the caption, for the map, and with the picture and gray for the word's probability
    assert len(encoded) == 3
    assert tuple(parts) == explainer.parts == ("attention", "deletion and insertion")


def test_explanations_are_repeatable():
    explainer = Explainer(loaded(tiny_preset("tiny")), ["occlusion"], Settings(masks=20))
    first, second = (explainer(picture(), caption="red star") for _ in range(2))
    for one, other in zip(first.words, second.words, strict=True):
        torch.testing.assert_close(one.saliencies[0].map, other.saliencies[0].map, atol=0, rtol=0)


class Answers(nn.Module):
    """A model of which only answers are to be had, as of an exported graph: brighter, likelier."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.image_size = 32
        self.retrieval = None

    def encode(self, images):
        assert images.dtype == torch.uint8
        pooled = images.float().mean((2, 3))
        return Memory(pooled[:, None], pooled, torch.ones(len(images), 1, dtype=torch.bool))

    look = encode

    def connect(self, memory):
        return memory

    def init_state(self, memory, width):
        return State(memory.pooled)

    def step(self, ids, state):
        return state.pooled[:, :1, None] * torch.eye(len(TOKENIZER))[4].expand(1, 1, -1), state


class State:
    weights = None

    def __init__(self, pooled):
        self.pooled = pooled


def test_an_exported_model_is_explained_by_occlusion_and_refuses_gradients_in_one_sentence():
    explainer = Explainer(loaded(Answers()), settings=Settings(masks=20))
    explanation = explainer(picture(), caption="red star")
    assert {one.method for one in explanation.words[0].saliencies} == {"occlusion"}
    assert "need the weights of a checkpoint" in explanation.missing["integrated_gradients"]
    with pytest.raises(UserError, match="say --method occlusion"):
        Explainer(loaded(Answers()), ["integrated_gradients"])(picture(), caption="red star")


def test_models_without_pictures_or_words_of_their_own_are_refused():
    model = tiny_preset("tiny")
    model.encoder = StoredEncoder(dim=12)
    with pytest.raises(UserError, match="stored features"):
        Explainer(loaded(model))
    model = tiny_preset("tiny")
    model.decoder.learns = False
    with pytest.raises(UserError, match="looks captions up"):
        Explainer(loaded(model))


def test_a_caption_with_unknown_words_is_refused():
    with pytest.raises(UserError, match="does not know all words"):
        Explainer(loaded(tiny_preset("tiny")))(picture(), caption="red unicorn")


@pytest.mark.parametrize("amount", [{"masks": 1}, {"masks": 10**9}, {"steps": 0}, {"steps": 10**9}])
def test_work_is_bounded(amount: dict[str, int]):
    with pytest.raises(UserError, match=f"--{next(iter(amount))}"):
        Settings(**amount)
