"""ClipCap's prefix: what the language model reads, and that an image's part of it is kept once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.inference.checkpoints import Checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.models.attention.additive import AdditiveAttention
from captionlab.models.attention.base import NoAttention
from captionlab.models.decoders import PrefixDecoder
from captionlab.text.tokenizers import PretrainedTokenizer, WordTokenizer
from captionlab.text.vocabulary import Vocabulary
from tests_support import SMALLER, save_gpt2, tiny_captioner, tiny_config

transformers = pytest.importorskip("transformers")

WIDTH, POOLED, PREFIX = 12, 6, 3
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
FAMILIES = [GPT2, LLAMA, OPT, {**LLAMA, "model_type": "gpt_neox"}]
MAPPINGS = ["mlp", "transformer"]


def decoder(**more) -> PrefixDecoder:
    torch.manual_seed(1)
    kept = {
        "weights": None,
        "architecture": GPT2,
        "prefix_length": PREFIX,
        "mapping_layers": 1,
        "mapping_heads": 2,
        "vocabulary_size": 20,
        "pad_id": 0,
        "memory_dim": WIDTH,
        "pooled_dim": POOLED,
        "attention": NoAttention(query_dim=1, memory_dim=WIDTH),
    }
    return PrefixDecoder(**{**kept, **more}).eval()


def a_memory() -> Memory:
    mask = torch.arange(5) < torch.tensor([5, 3])[:, None]
    return Memory(torch.randn(2, 5, WIDTH), torch.randn(2, POOLED), mask)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("architecture", FAMILIES, ids=lambda a: a["model_type"])
def test_it_is_the_library_reading_prefix_and_words_as_one_text(architecture, mapping):
    model, memory = decoder(architecture=architecture, mapping=mapping), a_memory()
    tokens = torch.randint(4, 20, (2, 3, 6))
    found = model(memory, tokens)
    prefix = model.mapping(memory)
    for caption in range(3):
        words = model.words(tokens[:, caption, 1:] - 4)
        text = torch.cat([prefix, words], 1)
        whole = model.body(inputs_embeds=text, use_cache=False).last_hidden_state
        torch.testing.assert_close(found.hidden[:, caption], whole[:, PREFIX - 1 :])
    assert found.weights is None


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("architecture", FAMILIES, ids=lambda a: a["model_type"])
def test_cached_steps_equal_the_forward_pass_for_any_model(architecture, mapping):
    model, memory = decoder(architecture=architecture, mapping=mapping), a_memory()
    tokens = torch.randint(4, 20, (2, 3, 6))
    whole, state = model(memory, tokens), model.init_state(memory, 3)
    for t in range(6):
        logits, state = model.step(tokens[..., t], state)
        torch.testing.assert_close(
            logits, model.logits(whole.hidden[:, :, t]), atol=1e-5, rtol=1e-5
        )


def test_beams_share_the_prefix_of_their_image():
    model, memory = decoder(), a_memory()
    state = model.init_state(memory, 4)
    for _ in range(3):
        _, state = model.step(torch.full((2, 4), 5), state)
    beams = state.select(torch.zeros(2, 7, dtype=torch.long))
    for keys, values in beams.beginning.prefix:
        assert keys.shape == values.shape == (2, 2, PREFIX, 8)
    assert all(keys.shape == (2, 7, 2, 2, 8) for keys, _ in beams.words)
    assert beams.beginning.prefix[0][0] is state.beginning.prefix[0][0]


def test_the_mlp_is_the_papers():
    model, memory = decoder(mapping="mlp"), a_memory()
    first, second = model.mapping.layers[0], model.mapping.layers[2]
    assert first.out_features == PREFIX * 16 // 2
    hidden = torch.tanh(nn.functional.linear(memory.pooled, first.weight, first.bias))
    expected = nn.functional.linear(hidden, second.weight, second.bias).view(2, PREFIX, 16)
    torch.testing.assert_close(model.mapping(memory), expected)


@pytest.mark.parametrize(("mapping", "read"), [("mlp", "pooled"), ("transformer", "slots")])
def test_each_mapping_reads_its_part_of_the_memory(mapping, read):
    model, memory = decoder(mapping=mapping), a_memory()
    tokens = torch.tensor([[[1, 5, 6]], [[1, 5, 6]]])
    before = model(memory, tokens).hidden
    slots = memory.slots + memory.mask[..., None]
    behind = memory.slots + ~memory.mask[..., None]
    changed = {
        "pooled": Memory(memory.slots, memory.pooled + 1, memory.mask),
        "slots": Memory(slots, memory.pooled, memory.mask),
        "padding": Memory(behind, memory.pooled, memory.mask),
    }
    moved = {
        name: not torch.allclose(model(other, tokens).hidden, before)
        for name, other in changed.items()
    }
    assert moved == {"pooled": False, "slots": False, "padding": False} | {read: True}


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("trainable", ["none", 1, "all"])
def test_what_learns_is_the_mapping_and_what_is_chosen(mapping, trainable):
    model = decoder(mapping=mapping, trainable=trainable).train()
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    own = {n for n in learning if not n.startswith("mapping.")}
    every = {n for n, _ in model.named_parameters() if not n.startswith("mapping.")}
    blocks = {n.split(".")[2] for n in own if n.startswith("body.h.")}
    assert blocks == {"none": set(), 1: {"2"}, "all": {"0", "1", "2"}}[trainable]
    assert (own == every) == (trainable == "all")
    tokens = torch.tensor([[[1, 5, 6]], [[1, 7, 8]]])
    model.logits(model(a_memory(), tokens).hidden).log_softmax(-1)[..., 5].sum().backward()
    assert all(model.get_parameter(n).grad is not None for n in learning)
    assert model.body.training == (trainable != "none")
    assert model.mapping.training


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_a_connector_learns_what_the_mapping_reads_alone(mapping):
    captioner = tiny_captioner(
        "model=prefix",
        "model/encoder=small_cnn",
        "model/connector=linear",
        "model.connector.width=16",
        *SMALLER["prefix"],
        f"model.decoder.mapping={mapping}",
    )
    learning = {n for n, p in captioner.connector.named_parameters() if p.requires_grad}
    read = "pooled." if mapping == "mlp" else "slots."
    assert learning
    assert all(n.startswith(read) for n in learning)


def test_its_pretrained_words_are_the_language_models(tmp_path: Path):
    captions = ["Two dogs run over wet sand.", "A man in a red shirt climbs a rock."] * 3
    folder = save_gpt2(tmp_path / "gpt2", captions)
    tokenizer = PretrainedTokenizer.fit([], name=str(folder))
    more = {"architecture": None, "name": str(folder), "vocabulary_size": len(tokenizer)}
    ours = decoder(weights="DEFAULT", **more)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    ids = torch.tensor(tokenizer.encode(captions[0]))
    memory = a_memory()
    inputs = torch.cat([torch.tensor([1]), ids])[None, None].expand(2, -1, -1)
    logits = ours.logits(ours(memory, inputs).hidden)
    words = theirs.get_input_embeddings()(ids - 4).expand(2, -1, -1)
    text = torch.cat([ours.mapping(memory), words], 1)
    expected = theirs(inputs_embeds=text).logits[:, PREFIX - 1 :]
    end = theirs.config.eos_token_id
    torch.testing.assert_close(logits[:, 0, :, 4 : 4 + end], expected[..., :end])
    torch.testing.assert_close(logits[:, 0, :, 2], expected[..., end])


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_a_checkpoint_with_it_is_built_again(tmp_path: Path, mapping):
    tokenizer = WordTokenizer(Vocabulary(["a", "dog", "runs"]))
    checkpoint = a_checkpoint(tmp_path, tokenizer, mapping=mapping)
    again = captioner_of(checkpoint)
    assert isinstance(again.decoder, PrefixDecoder)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, checkpoint.weights[name])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("prefix_length", 2**20, "must be 1 to 1023"),
        ("prefix_length", 1000, r"has decoder\.mapping\.constants of shape"),
        ("mapping_layers", 2**20, "many more parameters"),
        ("mapping_heads", 3, "does not divide 16"),
        ("mapping", "mlp", r"has no decoder\.mapping\.layers"),
    ],
)
def test_a_file_that_asks_for_more_than_its_weights_is_refused(
    tmp_path: Path, key, value, sentence
):
    checkpoint = a_checkpoint(tmp_path, WordTokenizer(Vocabulary(["a", "dog", "runs"])))
    checkpoint.config["model"]["decoder"][key] = value
    with pytest.raises(UserError, match=sentence):
        captioner_of(checkpoint)


def a_checkpoint(path: Path, tokenizer: WordTokenizer, **changes) -> Checkpoint:
    model = tiny_config("model=prefix", "model/encoder=small_cnn", *SMALLER["prefix"])["model"]
    model["decoder"] |= changes
    weights = build_captioner(model, Sizes.of(tokenizer)).state_dict()
    return Checkpoint(path, {"model": model}, tokenizer, [], weights, epochs=1)


def test_what_cannot_work_is_said():
    for option, value, sentence in (
        ("mapping", "mpl", r"mapping='mpl': did you mean 'mlp'"),
        ("mapping_layers", 0, r"mapping_layers=0 must be at least 1"),
        ("mapping_heads", 3, r"mapping_heads=3 does not divide 16"),
        ("prefix_length", 0, r"prefix_length=0 must be 1 to 1023"),
        ("prefix_length", 1024, r"prefix_length=1024 must be 1 to 1023"),
        ("attention", AdditiveAttention(query_dim=16, memory_dim=WIDTH), "model/attention=none"),
    ):
        with pytest.raises(UserError, match=sentence):
            decoder(**{option: value})
    short = decoder(architecture={**GPT2, "n_positions": 6})
    short(a_memory(), torch.ones(2, 1, 4, dtype=torch.long))
    with pytest.raises(
        UserError, match="5 tokens, its prompt counted, behind 2 of the image is longer"
    ):
        short(a_memory(), torch.ones(2, 1, 5, dtype=torch.long))
    memory = a_memory()
    with pytest.raises(UserError, match="no real slot"):
        decoder()(Memory(memory.slots, memory.pooled, memory.mask & False), torch.ones(2, 1, 2))
    with pytest.raises(UserError, match="pooled vector is 6 wide"):
        decoder(mapping="mlp", pooled_dim=7).init_state(memory, 1)
