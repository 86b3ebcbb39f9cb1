"""Low-rank adapters on both decoders around a language model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.inference.checkpoints import Checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.models.attention.base import NoAttention
from captionlab.models.decoders import CaptionerText, LanguageModelDecoder, PrefixDecoder
from captionlab.models.decoders.language_model.lora import adapted
from captionlab.text.tokenizers import WordTokenizer
from captionlab.text.vocabulary import Vocabulary
from tests_support import SMALLER, tiny_config

pytest.importorskip("peft")

WIDTH = 12
GPT2 = {"model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 2}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
KINDS = {
    "gpt2": (LanguageModelDecoder, {"heads": 2}),
    "prefix": (PrefixDecoder, {"prefix_length": 3, "mapping_layers": 1, "mapping_heads": 2}),
}
TOKENS = torch.tensor([[[1, 5, 6, 9]], [[1, 7, 8, 4]]])


def decoder(kind: str, architecture=GPT2, **more):
    torch.manual_seed(1)
    decoder_class, own = KINDS[kind]
    kept = {"vocabulary_size": 20, "pad_id": 0, "memory_dim": WIDTH, "weights": None}
    attention = NoAttention(query_dim=1, memory_dim=WIDTH)
    more = {"lora": {"rank": 4}, **more}
    return decoder_class(
        **kept, **own, architecture=architecture, attention=attention, **more
    ).eval()


def taught(model):
    """The same decoder with adapters that change something, and open gates."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
        if name.endswith("cross.gate"):
            parameter.data.fill_(0.8)
    return model


def a_memory() -> Memory:
    generator = torch.Generator().manual_seed(2)
    slots = torch.randn(2, 5, WIDTH, generator=generator)
    return Memory(slots, slots.mean(1), torch.ones(2, 5, dtype=torch.bool))


def scores(model) -> torch.Tensor:
    return model.logits(model(a_memory(), TOKENS).hidden)


@pytest.mark.parametrize("kind", KINDS)
def test_it_begins_as_the_language_model(kind):
    without, model = decoder(kind, lora=None), decoder(kind)
    own = model.state_dict()
    for name, tensor in without.state_dict().items():
        stored = name if name in own else ".base_layer.".join(name.rsplit(".", 1))
        own[stored].copy_(tensor)
    torch.testing.assert_close(scores(model), scores(without))
    assert not torch.allclose(scores(taught(model)), scores(without))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", [GPT2, LLAMA], ids=lambda a: a["model_type"])
def test_merged_it_scores_the_same_and_is_a_decoder_without(kind, architecture):
    model = taught(decoder(kind, architecture))
    expected = scores(model)
    model.merge_lora()
    torch.testing.assert_close(scores(model), expected, atol=1e-5, rtol=1e-5)
    plain = decoder(kind, architecture, lora=None)
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(scores(plain), expected, atol=1e-5, rtol=1e-5)
    model.merge_lora()
    torch.testing.assert_close(scores(model), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_cached_steps_equal_the_forward_pass(kind):
    model, memory = taught(decoder(kind)), a_memory()
    expected, state = scores(model), model.init_state(memory, 1)
    for t in range(TOKENS.shape[-1]):
        logits, state = model.step(TOKENS[..., t], state)
        torch.testing.assert_close(logits, expected[:, :, t], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trainable", ["none", 1])
def test_adapters_learn_and_of_the_rest_what_is_chosen(kind, trainable):
    model = decoder(kind, trainable=trainable, lora={"rank": 4, "dropout": 0.5}).train()
    inside = [n for n, p in model.body.named_parameters() if p.requires_grad]
    adapters = [n for n, _ in model.body.named_parameters() if "lora_" in n]
    assert len(adapters) == 4
    assert set(adapters) <= set(inside)
    own = {n for n in inside if "lora_" not in n and ".cross." not in n}
    assert {n.split(".")[1] for n in own} == (set() if trainable == "none" else {"1"})
    scores(taught(model)).log_softmax(-1)[..., 5].sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", KINDS)
def test_its_dropout_works_beside_a_language_model_that_does_not_learn(kind):
    model = taught(decoder(kind, trainable="none", lora={"rank": 4, "dropout": 0.5}, dropout=0.0))
    model.train()
    assert not model.body.training
    assert not torch.allclose(scores(model), scores(model))
    torch.testing.assert_close(scores(model.eval()), scores(model))


def test_layers_can_be_named():
    model = decoder("gpt2", lora={"rank": 2, "target_modules": ["mlp.c_proj"]})
    assert [name for name, _ in adapted(model.body)] == [
        f"h.{i}.layer.mlp.c_proj" for i in range(2)
    ]


def test_with_activation_checkpointing_gradients_are_the_same():
    found = []
    for saving in (False, True):
        model = taught(decoder("gpt2", trainable="none", activation_checkpointing=saving))
        scores(model.train()).square().mean().backward()
        found.append({n: p.grad for n, p in model.named_parameters() if "lora_" in n})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)


def test_whole_captioners_have_them_too():
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    sides = {"text_config": {"hidden_size": 16, **layers}}
    sides["vision_config"] = {"hidden_size": WIDTH, **layers}
    blip = {"model_type": "blip", **sides}
    model = CaptionerText(
        weights=None,
        architecture=blip,
        trainable="none",
        lora={"rank": 4, "target_modules": ["query", "value"]},
        vocabulary_size=20,
        pad_id=0,
        memory_dim=WIDTH,
        attention=NoAttention(query_dim=1, memory_dim=WIDTH),
    ).eval()
    taught(model)
    learning = [n for n, p in model.named_parameters() if p.requires_grad]
    assert len(learning) == 2 * 4 * 2  # A and B of query and value, of both attentions of 2 layers
    assert all("lora_" in name for name in learning)
    expected = scores(model)
    model.merge_lora()
    torch.testing.assert_close(scores(model), expected, atol=1e-5, rtol=1e-5)


def a_checkpoint(path: Path, preset: str, **lora) -> Checkpoint:
    tokenizer = WordTokenizer(Vocabulary(["a", "dog", "runs"]))
    model = tiny_config(f"model={preset}", "model/encoder=small_cnn", *SMALLER[preset])["model"]
    model["decoder"]["lora"] = {"rank": 4, **lora}
    captioner = build_captioner(model, Sizes.of(tokenizer))
    taught(captioner.decoder)
    return Checkpoint(path, {"model": model}, tokenizer, [], captioner.state_dict(), epochs=1)


@pytest.mark.parametrize("preset", KINDS)
def test_a_checkpoint_holds_base_and_adapters(tmp_path: Path, preset):
    checkpoint = a_checkpoint(tmp_path, preset)
    assert sum("lora_" in name for name in checkpoint.weights) == 4
    assert sum("base_layer" in name for name in checkpoint.weights) == 4
    again = captioner_of(checkpoint)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, checkpoint.weights[name])


HOSTILE = {
    "rank": [2**20, -1, True, "8", None],
    "alpha": [0, "os", float("nan")],
    "dropout": [1.0, "0.1"],
    "target_modules": ["(a+)+$", [], [5], ["nothing"], ["c_attn", "c_fc"], ["wte"]],
    "ranc": [8],
}


@pytest.mark.parametrize(
    ("key", "value"), [(k, v) for k, values in HOSTILE.items() for v in values], ids=str
)
def test_a_file_that_asks_for_something_else_is_refused(tmp_path: Path, key, value):
    checkpoint = a_checkpoint(tmp_path, "prefix")
    checkpoint.config["model"]["decoder"]["lora"][key] = value
    with pytest.raises(UserError, match=rf"lora\.{key}|does not fit"):
        captioner_of(checkpoint)


def test_what_cannot_work_is_said(monkeypatch: pytest.MonkeyPatch):
    for lora, sentence in (
        ({"rank": 17}, r"lora\.rank=17 must be a whole number from 1 to .* width 16"),
        ({"rank": 4, "alfa": 8}, r"lora\.alfa: did you mean 'alpha'"),
        ({"rank": 4, "dropout": 1}, r"lora\.dropout=1 must lie in"),
        ({"rank": 4, "target_modules": "c_attn"}, r"target_modules='c_attn' must be a list"),
        (
            {"rank": 4, "target_modules": ["q_proj"]},
            r"\['q_proj'\] fits no layer of GPT2Model .*: choose of \[c_attn, c_fc, c_proj\]",
        ),
        ({"rank": 4, "target_modules": ["wte"]}, r"names wte, whose weights may also score"),
    ):
        with pytest.raises(UserError, match=sentence):
            decoder("gpt2", lora=lora)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"^model\.decoder\.lora needs peft: pip install"):
        decoder("gpt2")
    decoder("gpt2", lora=None)
    decoder("gpt2", lora={"rank": None, "alpha": 16})
