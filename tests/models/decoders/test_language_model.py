"""Language models of Hugging Face as decoders, against the library itself."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.decoding import Beam
from captionlab.models.attention.additive import AdditiveAttention
from captionlab.models.attention.base import NoAttention
from captionlab.models.decoders.language_model.decoder import LanguageModelDecoder
from captionlab.text.tokenizers import PretrainedTokenizer, tokenizer_from_dict
from tests_support import save_gpt2, tiny_config

transformers = pytest.importorskip("transformers")

CAPTIONS = ["Two dogs run over wet sand.", "A man in a red shirt climbs a rock."] * 3
WIDTH = 12
GPT2 = {"model_type": "gpt2", "n_layer": 3, "n_embd": 16, "n_head": 2}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
OPT = {
    "model_type": "opt",
    "hidden_size": 16,
    "ffn_dim": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "word_embed_proj_dim": 8,
}
NEOX = {**LLAMA, "model_type": "gpt_neox"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("gpt2"), CAPTIONS)


def decoder(**more) -> LanguageModelDecoder:
    torch.manual_seed(1)
    kept = {"vocabulary_size": 20, "pad_id": 0, "memory_dim": WIDTH, "weights": None}
    attention = NoAttention(query_dim=1, memory_dim=WIDTH)
    return LanguageModelDecoder(**{**kept, "attention": attention, **more}).eval()


def opened(model: LanguageModelDecoder) -> LanguageModelDecoder:
    """The same decoder with its gates open, so that what it sees matters."""
    for cross in model._cross_attentions():
        cross.gate.data.fill_(0.8)
    return model


def a_memory() -> Memory:
    mask = torch.arange(5) < torch.tensor([5, 3])[:, None]
    return Memory(torch.randn(2, 5, WIDTH), torch.randn(2, WIDTH), mask)


def test_it_begins_as_transformers_gpt2(folder: Path):
    tokenizer = PretrainedTokenizer.fit([], name=str(folder))
    ours = decoder(name=str(folder), weights="DEFAULT", vocabulary_size=len(tokenizer))
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    ids = torch.tensor(tokenizer.encode(CAPTIONS[0]))
    inputs = torch.cat([torch.tensor([1]), ids])[None, None].expand(2, -1, -1)
    logits = ours.logits(ours(a_memory(), inputs).hidden)
    end = theirs.config.eos_token_id
    expected = theirs(torch.cat([torch.tensor([end]), ids - 4])[None]).logits[0]
    torch.testing.assert_close(logits[0, 0, :, 4 : 4 + end], expected[:, :end])
    torch.testing.assert_close(logits[1, 0, :, 2], expected[:, end])
    never = logits[..., [0, 1, 3, 4 + end]]
    assert (never <= logits.amin(-1, keepdim=True)).all()


def test_gelu_is_the_librarys_in_values_and_gradients():
    model = decoder(architecture=GPT2).double()
    fused = [m for m in model.modules() if isinstance(m, torch.nn.GELU)]
    assert len(fused) == GPT2["n_layer"]
    x = torch.linspace(-6, 6, 200, dtype=torch.double, requires_grad=True)
    library = transformers.activations.NewGELUActivation()
    both = [torch.autograd.grad(f(x).square().sum(), x)[0] for f in (fused[0], library)]
    torch.testing.assert_close(fused[0](x), library(x))
    torch.testing.assert_close(*both)


def test_its_tokenizer_is_the_models_own(folder: Path):
    tokenizer = PretrainedTokenizer.fit([], name=str(folder))
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert [i - 4 for i in tokenizer.encode(CAPTIONS[0])] == theirs(CAPTIONS[0]).input_ids
    assert tokenizer.decode([*tokenizer.encode(CAPTIONS[0].lower()), 2, 9]) == CAPTIONS[0].lower()
    again = tokenizer_from_dict(tokenizer.to_dict())
    assert again.kind == "pretrained"
    assert again.encode(CAPTIONS[1]) == tokenizer.encode(CAPTIONS[1])
    assert again.encode("Dogs") != again.encode("dogs")


@pytest.mark.parametrize("architecture", [GPT2, LLAMA, OPT, NEOX], ids=lambda a: a["model_type"])
def test_cached_steps_equal_the_forward_pass_for_any_model(architecture):
    model, memory = opened(decoder(architecture=architecture)), a_memory()
    tokens = torch.randint(4, 20, (2, 3, 6))
    tokens[..., 0] = 1
    whole, state = model(memory, tokens), model.init_state(memory, 3)
    for t in range(6):
        logits, state = model.step(tokens[..., t], state)
        expected = model.logits(whole.hidden[:, :, t])
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(state.weights, whole.weights[:, :, t], atol=1e-5, rtol=1e-5)


def test_the_image_matters_once_a_gate_opens():
    model, memory = decoder(architecture=GPT2), a_memory()
    other = Memory(memory.slots.flip(0), memory.pooled, memory.mask)
    tokens = torch.tensor([[[1, 5, 6]], [[1, 5, 6]]])
    assert torch.equal(model(memory, tokens).hidden, model(other, tokens).hidden)
    opened(model)
    assert not torch.allclose(model(memory, tokens).hidden, model(other, tokens).hidden)


@pytest.mark.parametrize(("trainable", "learning"), [("none", []), (1, ["2"]), (2, ["1", "2"])])
def test_of_the_language_model_only_what_is_told_learns(trainable, learning):
    model = decoder(architecture=GPT2, trainable=trainable).train()
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    own = [n for n in names if not n.startswith("slots") and ".cross." not in n]
    assert sorted({n.split(".")[2] for n in own}) == learning
    tokens = torch.tensor([[[1, 5, 6]], [[1, 7, 8]]])
    hidden = opened(model)(a_memory(), tokens).hidden
    model.logits(hidden).log_softmax(-1)[..., 5].sum().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n in names)
    if trainable == "none":
        assert not model.body.training
        assert all(cross.training for cross in model._cross_attentions())


def learned(model: LanguageModelDecoder) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients of a training pass, and the bytes that waited for them."""
    generator = torch.Generator().manual_seed(3)
    slots = torch.randn(2, 5, WIDTH, generator=generator)
    memory = Memory(slots, slots.mean(1), torch.ones(2, 5, dtype=torch.bool))
    tokens = torch.randint(4, 20, (2, 3, 8), generator=generator)
    waiting = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal waiting
        waiting += tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(5)  # of the dropout
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = model(memory, tokens)
        loss = model.logits(found.hidden).square().mean() + found.weights.square().mean()
    model.eval()  # the second pass of a layer must still drop what the first one dropped
    loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, waiting


@pytest.mark.parametrize("architecture", [GPT2, LLAMA, OPT], ids=lambda a: a["model_type"])
@pytest.mark.parametrize("trainable", ["all", "none"])
def test_layers_that_are_computed_twice_learn_the_same_in_less_memory(architecture, trainable):
    how = {"architecture": architecture, "trainable": trainable, "heads": 2, "cross_every": 2}
    plain = opened(decoder(**how)).train()
    saving = opened(decoder(**how, activation_checkpointing=True)).train()
    assert plain.state_dict().keys() == saving.state_dict().keys()
    copied = copy.deepcopy(saving)
    expected, before = learned(plain)
    for model in (saving, copied):
        found, after = learned(model)
        assert after < before / 2
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, msg=name)


def test_it_is_rebuilt_from_its_checkpoint_without_the_folder(folder: Path):
    model = tiny_config("model=gpt2", "model/encoder=small_cnn", "data/tokenizer=word")["model"]
    model["decoder"]["name"] = str(folder)
    tokenizer = PretrainedTokenizer.fit([], name=str(folder))
    sizes = Sizes.of(tokenizer)
    first = build_captioner(model, sizes)
    opened(first.decoder)
    bare = {"name": "gone", "weights": None, "architecture": first.decoder.architecture}
    again = build_captioner({**model, "decoder": {**model["decoder"], **bare}}, sizes)
    again.load_state_dict(first.state_dict())
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    ids = {"bos_id": 1, "eos_id": 2, "pad_id": 0}
    beam = Beam(beam_size=2, max_length=5)
    expected = beam(first.eval(), first.encode(images), **ids)
    found = beam(again.eval(), again.encode(images), **ids)
    torch.testing.assert_close(found.scores, expected.scores)
    assert found.tokens.tolist() == expected.tokens.tolist()


def test_what_cannot_work_is_said(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"model\.decoder\.name=.*data/tokenizer=pretrained"):
        decoder(name=str(folder), weights="DEFAULT", vocabulary_size=2000)
    with pytest.raises(UserError, match="no folder of that name"):
        decoder(name=str(tmp_path / "none"), weights="DEFAULT")
    with pytest.raises(UserError, match=r"model_type='gpt3': did you mean"):
        decoder(architecture={"model_type": "gpt3"})
    with pytest.raises(UserError, match="keeps no keys and values"):
        decoder(architecture={"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 2})
    with pytest.raises(UserError, match=r"trainable=4 must be 0 to 3"):
        decoder(architecture=GPT2, trainable=4)
    with pytest.raises(UserError, match="heads=3 does not divide"):
        decoder(architecture=GPT2, heads=3)
    with pytest.raises(UserError, match="model/attention=none"):
        decoder(architecture=GPT2, attention=AdditiveAttention(query_dim=16, memory_dim=WIDTH))
    short = decoder(architecture={**GPT2, "n_positions": 4})
    with pytest.raises(UserError, match="a caption of 5 tokens, its prompt counted, is longer"):
        short(a_memory(), torch.ones(2, 1, 5, dtype=torch.long))
    with pytest.raises(UserError, match=r"data\.tokenizer\.name=.*no folder of that name"):
        PretrainedTokenizer.fit([], name=str(tmp_path / "none"))
