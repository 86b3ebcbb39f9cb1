"""Whole captioners of Hugging Face in two halves, against the library's own whole."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.decoding import Greedy
from captionlab.inference.checkpoints import Checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.models.attention.base import NoAttention
from captionlab.models.captioner import Captioner
from captionlab.models.decoders import CaptionerText
from captionlab.models.encoders import CaptionerVision
from captionlab.text.tokenizers import WordTokenizer
from captionlab.text.vocabulary import Vocabulary
from tests_support import tiny_config

transformers = pytest.importorskip("transformers")

WORDS = 23
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
VIT = {"model_type": "vit", "hidden_size": 12, "image_size": 32, "patch_size": 16, **SMALL}
BERT = {"model_type": "bert", "hidden_size": 16, "vocab_size": WORDS, **SMALL}
GPT2 = {"model_type": "gpt2", "n_layer": 2, "n_embd": 12, "n_head": 2, "vocab_size": WORDS}
TROCR = {
    "model_type": "trocr",
    "d_model": 16,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 24,
    "vocab_size": WORDS,
    "cross_attention_hidden_size": 12,
}
VISION = {"hidden_size": 12, "image_size": 32, "patch_size": 16, **SMALL}
DECODER = {"is_decoder": True, "add_cross_attention": True}


def pair(decoder: dict, begin: int, end: int) -> dict:
    edges = {"decoder_start_token_id": begin, "eos_token_id": end, "pad_token_id": 0}
    return {
        "model_type": "vision-encoder-decoder",
        "encoder": VIT,
        "decoder": {**decoder, **DECODER},
        **edges,
    }


BLIP_TEXT = {
    "hidden_size": 16,
    "encoder_hidden_size": 12,
    "vocab_size": WORDS,
    "bos_token_id": 21,
    "sep_token_id": 20,
    "eos_token_id": 20,
    **SMALL,
}
CAPTIONERS = {
    "vit-gpt2": pair({**GPT2, "bos_token_id": 22, "eos_token_id": 22}, 22, 22),
    "vit-bert": pair(BERT, 21, 20),
    "vit-trocr": pair({**TROCR, "bos_token_id": 21, "eos_token_id": 20}, 21, 20),
    "blip": {"model_type": "blip", "vision_config": VISION, "text_config": BLIP_TEXT},
    "git": {
        "model_type": "git",
        "vision_config": VISION,
        "hidden_size": 16,
        "vocab_size": WORDS,
        "bos_token_id": 21,
        "eos_token_id": 20,
        **SMALL,
    },
}
CLASSES = {"blip": "BlipForConditionalGeneration", "git": "GitForCausalLM"}


def whole_of(kind: str):
    """The library's captioner with weights large enough that images and words matter."""
    torch.manual_seed(7)
    entries = copy.deepcopy(CAPTIONERS[kind])
    config = transformers.AutoConfig.for_model(**entries)
    whole = getattr(transformers, CLASSES.get(kind, "VisionEncoderDecoderModel"))(config).eval()
    for parameter in whole.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return whole


@pytest.fixture(scope="module", params=CAPTIONERS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp(request.param)
    whole = whole_of(request.param)
    whole.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    for side in ("encoder", "decoder", "text_config"):  # as files of the hub have it
        if side in config:
            config[side]["_name_or_path"] = "somebody/part"
    (folder / "config.json").write_text(json.dumps(config))
    return request.param, folder, whole


def halves(folder: Path) -> Captioner:
    encoder = CaptionerVision(str(folder), image_size=32)
    decoder = CaptionerText(
        str(folder),
        vocabulary_size=WORDS + 4,
        pad_id=0,
        memory_dim=encoder.dim,
        attention=NoAttention(query_dim=1, memory_dim=encoder.dim),
    )
    return Captioner(encoder, decoder).eval()


def library_logits(whole, pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The library's own scores (B,T,V) of ids (B,T)."""
    pairs = hasattr(whole, "encoder")
    given = {"decoder_input_ids" if pairs else "input_ids": ids}
    return whole(pixel_values=pixels, **given).logits[:, -ids.shape[1] :]


def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.mark.filterwarnings("error:.*is deprecated:FutureWarning")
def test_its_scores_are_the_librarys_own(saved):
    _, folder, whole = saved
    ours = halves(folder)
    memory = ours.encode(images())
    tokens = torch.randint(4, 19 + 4, (2, 3, 6))
    tokens[..., 0] = 1
    found = ours.logits(ours.decoder(memory, tokens).hidden)
    begin, end = ours.decoder.bos, ours.decoder.eos
    pixels = ours.encoder.normalize(images())
    for caption in range(3):
        ids = torch.cat([torch.full((2, 1), begin), tokens[:, caption, 1:] - 4], 1)
        expected = library_logits(whole, pixels, ids)
        torch.testing.assert_close(found[:, caption, :, 2], expected[..., end], **NEAR)
        own = [i for i in range(WORDS) if i not in (begin, end)]
        shifted = [i + 4 for i in own]
        torch.testing.assert_close(found[:, caption][..., shifted], expected[..., own], **NEAR)


NEAR = {"atol": 1e-4, "rtol": 1e-4}


def test_its_greedy_captions_are_those_of_generate(saved):
    kind, folder, whole = saved
    ours = halves(folder)
    found = Greedy(max_length=7)(
        ours, ours.encode(images()), bos_id=1, eos_id=2, pad_id=0, banned_ids=(3,)
    )
    begin, end = ours.decoder.bos, ours.decoder.eos
    pixels = ours.encoder.normalize(images())
    # a beginning in the midst of a caption is nothing that is written here
    limits = {"max_new_tokens": 7, "min_new_tokens": 1, "do_sample": False}
    limits |= {} if begin == end else {"suppress_tokens": [begin]}
    if kind != "blip":  # which names them itself
        limits |= {"eos_token_id": end, "pad_token_id": end}
    if kind == "git":
        limits["input_ids"] = torch.full((2, 1), begin)
        limits["use_cache"] = False  # transformers 5.0 writes something else with its cache
    theirs = whole.generate(pixel_values=pixels, **limits)
    for image in range(2):
        words = found.tokens[image, 0, : int(found.lengths[image, 0])].tolist()
        written = [end if i == 2 else i - 4 for i in words]
        expected = theirs[image, 1:].tolist()
        expected = expected[: expected.index(end) + 1] if end in expected else expected
        assert written == expected
        assert len(set(written)) > 1


def test_cached_steps_equal_the_forward_pass(saved):
    _, folder, _ = saved
    ours = halves(folder)
    memory = ours.encode(images())
    tokens = torch.randint(4, WORDS + 4, (2, 3, 6))
    whole, state = ours.decoder(memory, tokens), ours.init_state(memory, 3)
    for t in range(6):
        logits, state = ours.step(tokens[..., t], state)
        torch.testing.assert_close(logits, ours.logits(whole.hidden[:, :, t]), **NEAR)
    beams = state.select(torch.zeros(2, 5, dtype=torch.long))
    assert all(keys.shape[:2] == (2, 5) for keys, _ in beams.words)
    for layers in (beams.beginning.prefix, beams.beginning.cross):
        assert all(keys.shape[0] == 2 and keys.ndim == 4 for keys, _ in layers)


def test_slots_that_are_not_real_are_not_read(saved):
    _, folder, _ = saved
    ours = halves(folder)
    memory = ours.encode(images())
    count = memory.slots.shape[1]
    mask = torch.arange(count) < torch.tensor([count, 2])[:, None]
    tokens = torch.randint(4, WORDS, (2, 2, 4))
    alone = Memory(memory.slots[1:, :2], memory.pooled[1:], mask[1:, :2])
    together = ours.decoder(Memory(memory.slots, memory.pooled, mask), tokens).hidden
    torch.testing.assert_close(ours.decoder(alone, tokens[1:]).hidden, together[1:], **NEAR)
    changed = Memory(memory.slots + (~mask)[..., None] * 3, memory.pooled, mask)
    torch.testing.assert_close(ours.decoder(changed, tokens).hidden, together, **NEAR)
    moved = Memory(memory.slots.flip(0), memory.pooled, mask)
    assert not torch.allclose(ours.decoder(moved, tokens).hidden, together, atol=1e-3)


@pytest.mark.parametrize("trainable", ["none", 1, "all"])
def test_what_learns_has_a_gradient(saved, trainable):
    _, folder, _ = saved
    ours = halves(folder)
    attention = NoAttention(query_dim=1, memory_dim=5)
    more = {"vocabulary_size": WORDS + 4, "pad_id": 0, "memory_dim": 5, "attention": attention}
    decoder = CaptionerText(str(folder), trainable=trainable, **more).train()
    learning = {n for n, p in decoder.named_parameters() if p.requires_grad}
    assert {"slots.weight", "slots.bias"} <= learning
    assert (len(learning) == 2) == (trainable == "none")
    memory = Memory(torch.randn(2, 3, 5), torch.randn(2, 5), torch.ones(2, 3, dtype=torch.bool))
    decoder.logits(
        decoder(memory, torch.tensor([[[1, 5, 6]], [[1, 7, 8]]])).hidden
    ).square().sum().backward()
    assert all(decoder.get_parameter(n).grad is not None for n in learning)
    assert not any(p.requires_grad for p in ours.encoder.parameters())


def test_all_that_learns_of_the_vision_side_is_read(saved):
    """A ViT has a pooler that no text side reads: DDP would refuse it."""
    kind, folder, _ = saved
    model = captioner_config(folder)
    model["encoder"] |= {"trainable": "all", "image_size": 32}
    tokenizer = WordTokenizer(Vocabulary([f"w{i}" for i in range(WORDS)]))
    built = build_captioner(model, Sizes.of(tokenizer)).train()
    built.decoder(
        built.encode(images()), torch.tensor([[[1, 4]], [[1, 5]]])
    ).hidden.sum().backward()
    parts = dict(built.encoder.named_parameters())
    assert all(part.grad is not None for part in parts.values() if part.requires_grad)
    unread = {name for name, part in parts.items() if not part.requires_grad}
    assert all("pooler" in name for name in unread)
    assert bool(unread) == kind.startswith("vit")


def test_a_checkpoint_needs_no_folder(saved, tmp_path: Path):
    _, folder, _ = saved
    tokenizer = WordTokenizer(Vocabulary([f"w{i}" for i in range(WORDS)]))
    model = captioner_config(folder)
    first = build_captioner(model, Sizes.of(tokenizer))
    for part in ("encoder", "decoder"):
        model[part]["architecture"] = getattr(first, part).architecture
        model[part]["name"] = "gone"
    weights = first.state_dict()
    checkpoint = Checkpoint(tmp_path, {"model": model}, tokenizer, [], weights, epochs=1)
    again = captioner_of(checkpoint)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, weights[name])
    greedy, ids = Greedy(max_length=5), {"bos_id": 1, "eos_id": 2, "pad_id": 0}
    expected = greedy(first.eval(), first.encode(images()), **ids)
    assert greedy(again, again.encode(images()), **ids).tokens.tolist() == expected.tokens.tolist()


def captioner_config(folder: Path) -> dict:
    model = tiny_config("model=huggingface_captioner", f"model.decoder.name={folder}")["model"]
    assert model["encoder"]["name"] == str(folder)
    return model


HOSTILE = {
    "a name of the hub": ("decoder", None, "not looked for by a name"),
    "another name of the hub": ("encoder", None, "not looked for by a name"),
    "a wide text side": ("decoder", ("hidden_size", 2**20), "does not fit this model"),
    "a wide image": ("encoder", ("image_size", 2**20), "is more than a model can have"),
    "another kind": (
        "decoder",
        ("model_type", "llava"),
        "no model type that a file is trusted with",
    ),
    "a kind that a file is not trusted with": (
        "encoder",
        ("model_type", "timm_wrapper"),
        "no model type that",
    ),
    "code of its own": (
        "decoder",
        ("auto_map", {"AutoModel": "stranger/x--code.Model"}),
        "leads out of it",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_asks_for_something_else_is_refused(tmp_path: Path, case):
    part, change, sentence = HOSTILE[case]
    whole_of("git").save_pretrained(tmp_path / "git")
    tokenizer = WordTokenizer(Vocabulary([f"w{i}" for i in range(WORDS)]))
    model = captioner_config(tmp_path / "git")
    first = build_captioner(model, Sizes.of(tokenizer))
    for name in ("encoder", "decoder"):
        model[name]["architecture"] = getattr(first, name).architecture
    if change is None:
        model[part] |= {"architecture": None, "name": "stranger/model"}
    else:
        key, value = change
        entries = {**model[part]["architecture"]}
        where = "vision_config" if part == "encoder" and key == "image_size" else None
        if where is None:
            entries[key] = value
        else:
            entries[where] = {**entries[where], key: value}
        model[part] |= {"architecture": entries}
    weights = first.state_dict()
    checkpoint = Checkpoint(tmp_path, {"model": model}, tokenizer, [], weights, epochs=1)
    with pytest.raises(UserError, match=sentence):
        captioner_of(checkpoint)


def test_what_cannot_work_is_said(tmp_path: Path):
    more = {"vocabulary_size": WORDS + 4, "pad_id": 0, "memory_dim": 12}
    more["attention"] = NoAttention(query_dim=1, memory_dim=12)
    llama = {"model_type": "llama", "hidden_size": 16, "num_attention_heads": 2}
    with pytest.raises(UserError, match=r"architecture is a llama.*vision-encoder-decoder, blip"):
        CaptionerText(weights=None, architecture=llama, **more)
    with pytest.raises(UserError, match="no folder of that name"):
        CaptionerText(str(tmp_path / "none"), **more)
    with pytest.raises(UserError, match=r"architecture is for random weights"):
        CaptionerText(architecture=CAPTIONERS["git"], **more)
    with pytest.raises(UserError, match=r"knows none that are usual.*choose of \[.*query, value\]"):
        CaptionerText(weights=None, architecture=CAPTIONERS["blip"], lora={"rank": 2}, **more)
    whole_of("blip").save_pretrained(tmp_path / "blip")
    with pytest.raises(UserError, match=r"words for 23 ids and the tokenizer writes 2,000"):
        CaptionerText(str(tmp_path / "blip"), **{**more, "vocabulary_size": 2004})
    with pytest.raises(UserError, match=r"image_size=64: .*made for image_size=32"):
        CaptionerVision(str(tmp_path / "blip"), image_size=64)
    with pytest.raises(UserError, match=r"weights=a\.pt: a captioner has its own"):
        CaptionerVision(str(tmp_path / "blip"), weights="a.pt", image_size=32)


def test_scores_that_are_made_in_another_way_are_refused(tmp_path: Path, monkeypatch):
    whole = whole_of("git")
    whole.save_pretrained(tmp_path / "git")
    plain = transformers.GitForCausalLM.forward

    def doubled(self, *args, **kwargs):
        output = plain(self, *args, **kwargs)
        output.logits = output.logits * 2
        return output

    monkeypatch.setattr(transformers.GitForCausalLM, "forward", doubled)
    with pytest.raises(UserError, match="scores words in another way"):
        halves(tmp_path / "git")
