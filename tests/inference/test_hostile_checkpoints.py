"""Checkpoints of strangers: each ends in one sentence, and in nothing else.

One case for every field that can name, size or point at something.
"""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from captionlab.cli.evaluate import configure
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.loaded import load_captioner
from hostile_support import (
    DROPPED,
    MEMORY,
    Calls,
    changed,
    forget_peak,
    honest,
    legacy,
    peak_memory,
    rewritten,
    watched,
)

RUN = {"_target_": "torch.utils.collect_env.run", "command": "touch pwned"}
CONFIG = "captionlab/config"
HUGE = 10**9
HF = "captionlab.models.encoders.HuggingFaceEncoder"
LM = "captionlab.models.decoders.LanguageModelDecoder"
TEXT = "captionlab.models.decoders.CaptionerText"
VISION = "captionlab.models.encoders.CaptionerVision"
QFORMER = "captionlab.models.connectors.QFormerConnector"
TIMM = "captionlab.models.encoders.TimmEncoder"
TORCHVISION = "captionlab.models.encoders.TorchvisionEncoder"
TRANSFORMER = ("model/decoder=transformer", "model/attention=none")
VIT = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
GPT2 = {"model_type": "gpt2", "n_layer": 1, "n_embd": 16, "n_head": 2}


def encoder(**settings: Any) -> dict[str, Any]:
    return {"name": "resnet18", "image_size": 32, "weights": None, **settings}


def hugging_face(**settings: Any) -> dict[str, Any]:
    return encoder(_target_=HF, **{"architecture": VIT, **settings})


def language_model(**settings: Any) -> dict[str, Any]:
    return {"_target_": LM, "_partial_": True, "weights": None, "architecture": GPT2, **settings}


GIT = {
    "model_type": "git",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vision_config": {**VIT, "model_type": "git_vision_model"},
}
PAIR = {"model_type": "vision-encoder-decoder", "encoder": VIT, "decoder": GPT2}


def vision(**settings: Any) -> dict[str, Any]:
    return {"_target_": VISION, "weights": None, "image_size": 32, "architecture": GIT, **settings}


def connector(**settings: Any) -> dict[str, Any]:
    return {"_target_": QFORMER, "_partial_": True, **settings}


def laughs(levels: int) -> dict[str, Any]:
    """Return settings of which each holds the one before it ten times."""
    rows: dict[str, Any] = {"a0": "ha" * 50}
    for level in range(1, levels):
        rows[f"a{level}"] = f"${{decoding.laughs.a{level - 1}}}" * 10
    return rows


def shared_lists(levels: int) -> Any:
    """Return a list of lists that is small as a pickle, and endless when it is walked."""
    node: Any = [0] * 10
    for _ in range(levels):
        node = [node] * 10
    return node


# (key, value): what a stranger writes at the key
NAMES = {
    "encoder is a shell command": ("model/encoder", RUN),
    "decoder is a shell command": ("model/decoder", {**RUN, "_partial_": True}),
    "a decoder that is partly nothing": ("model/decoder/_partial_", None),
    "an attention that is partly a text": ("model/attention/_partial_", "yes"),
    "attention is a shell command": ("model/attention", {**RUN, "_partial_": True}),
    "a source that is a list": ("data/source", ["x"]),
    "a source that names no class": ("data/source", {"root": "x"}),
    "tags that name no class": ("model/tags", {"weight": 1.0}),
    "tags that are a yes": ("model/tags", True),
    "tags that are a text": ("model/tags", "default"),
    "tags are a shell command": ("model/tags", {**RUN, "_partial_": True}),
    "connector that is a yes": ("model/connector", True),
    "connector is a shell command": ("model/connector", {**RUN, "_partial_": True}),
    "a tag head as connector": (
        "model/connector",
        {"_target_": "captionlab.models.TagHead", "_partial_": True},
    ),
    "decoding is a shell command": ("decoding", RUN),
    "captioner is a shell command": ("model/_target_", "torch.utils.collect_env.run"),
    "os.system": ("model/encoder", {"_target_": "os.system", "command": "touch pwned"}),
    "eval": ("model/encoder/_target_", "builtins.eval"),
    "exec": ("model/decoder/_target_", "builtins.exec"),
    "subprocess": ("model/attention/_target_", "subprocess.check_output"),
    "pickle": ("model/encoder/_target_", "pickle.load"),
    "torch.hub": ("model/encoder/_target_", "torch.hub.load"),
    "torch.load": ("model/encoder/_target_", "torch.load"),
    "torchvision": ("model/encoder/_target_", "torchvision.datasets.utils.download_url"),
    "a layer of torch": ("model/encoder/_target_", "torch.nn.Identity"),
    "captionlab's own function": ("model/encoder/_target_", "captionlab.core.files.replacing"),
    "captionlab's own command": ("decoding/_target_", "captionlab.cli.evaluate.evaluate"),
    "captionlab.core.errors.os": (
        "model/encoder/_target_",
        "captionlab.inference.checkpoints.os.system",
    ),
    "a listed class's method": (
        "model/encoder/_target_",
        "captionlab.models.encoders.SmallCNN.train",
    ),
    "a decoder as encoder": (
        "model/encoder/_target_",
        "captionlab.models.decoders.rnn_decoder",
    ),
    "an encoder as decoding": ("decoding/_target_", "captionlab.models.encoders.SmallCNN"),
    "a module that is imported": ("model/encoder/_target_", "antigravity.fly"),
    "a module that warns": ("decoding/_target_", "this.s"),
    "no text": ("model/encoder/_target_", 5),
    "a list": ("decoding/_target_", ["os", "system"]),
    "an empty name": ("model/encoder/_target_", ""),
    "nested in a list": ("model/encoder/channels", [RUN]),
    "nested in a mapping": ("model/decoder/dropout", RUN),
    "nested deep": ("model/decoder/dropout", {"a": [{"b": RUN}]}),
    "nested in a new key": ("model/encoder/more", RUN),
    "nested in decoding": ("decoding/max_length", RUN),
    "positional arguments": ("model/encoder/_args_", [[8]]),
    "another recursion": ("model/encoder/_recursive_", False),
    "another conversion": ("model/encoder/_convert_", "object"),
    "a class for a list": ("decoding/bad_endings", [{"_target_": "os.getcwd"}]),
    "data is a shell command": ("data", RUN),
    "source is a shell command": ("data/source", RUN),
    "source is another part": ("data/source/_target_", "captionlab.data.Augment"),
    "source opens a file": ("data/source", {"_target_": "builtins.open", "file": "pwned"}),
    "nested in a source": ("data/source/seed", RUN),
    "nested in data": ("data/batch_size", RUN),
}
SIZES = {
    "hidden": ("model/decoder/hidden", HUGE),
    "hidden, negative": ("model/decoder/hidden", -HUGE),
    "hidden, a float": ("model/decoder/hidden", 1e30),
    "embedding": ("model/decoder/embedding", HUGE),
    "layers": ("model/decoder/layers", HUGE),
    "layers, less": ("model/decoder/layers", 10**6),
    "channels": ("model/encoder/channels", [HUGE]),
    "many channels": ("model/encoder/channels", [8] * 100_000),
    "blocks": ("model/encoder/blocks", HUGE),
    "blocks, less": ("model/encoder/blocks", 10**6),
    "image_size": ("model/encoder/image_size", HUGE),
    "image_size, less": ("model/encoder/image_size", 2**16),
    "no layers": ("model/encoder/layers", []),
    "a layer that is none": ("model/encoder/layers", [HUGE]),
    "a layer that is a bool": ("model/encoder/layers", [True]),
    "a layer that is a text": ("model/encoder/layers", ["last"]),
    "a layer that is a list": ("model/encoder/layers", [[-1]]),
    "layers that are a number": ("model/encoder/layers", -1),
    "many layers": ("model/encoder/layers", [-1] * 100_000),
    "the last layer many times": ("model/encoder/layers", [-1] * 500),
    "layers that its weights are not of": ("model/encoder/layers", [0, 1]),
    "a stage of a million cells": (
        "model/encoder",
        encoder(_target_=TORCHVISION, name="vgg11", image_size=1024, layers=[0]),
    ),
    "timm's stage of many cells": (
        "model/encoder",
        encoder(_target_=TIMM, name="resnet10t", image_size=1024, layers=[0]),
    ),
    "a vector of no kind": ("model/encoder", encoder(_target_=TIMM, name="resnet10t", pooled="os")),
    "a vector that is a list": (
        "model/encoder",
        encoder(_target_=TIMM, name="resnet10t", pooled=["mean"]),
    ),
    "a pooled width of the decoder's": ("model/decoder/pooled_dim", HUGE),
    "a stored vector that is wide": (
        "model/encoder",
        {"_target_": "captionlab.models.encoders.StoredEncoder", "pooled_dim": HUGE},
    ),
    "a stored vector of no width": (
        "model/encoder",
        {"_target_": "captionlab.models.encoders.StoredEncoder", "pooled_dim": 0},
    ),
    "attention width": ("model/attention/width", HUGE),
    "tags": (
        "model/tags",
        {"_target_": "captionlab.models.TagHead", "_partial_": True, "size": HUGE},
    ),
    "connector width": (
        "model/connector",
        {
            "_target_": "captionlab.models.connectors.LinearConnector",
            "_partial_": True,
            "width": HUGE,
        },
    ),
    **{
        f"queries' {key}": ("model/connector", connector(**{key: value}))
        for key in ("num_queries", "width", "layers", "feed_forward")
        for value in (HUGE, 2**24)
    },
    "adapters of a high rank": ("model/decoder", language_model(lora={"rank": HUGE})),
    "a captioner of a billion words": (
        "model/decoder",
        language_model(_target_=TEXT, architecture={**GIT, "vocab_size": HUGE}),
    ),
    "a captioner's vision of a million layers": (
        "model/encoder",
        vision(architecture={**GIT, "vision_config": {**VIT, "num_hidden_layers": 10**6}}),
    ),
    "beams": ("decoding/beam_size", HUGE),
    "captions": ("decoding/num_captions", HUGE),
    "tokens": ("decoding/max_length", HUGE),
    "samples": (
        "decoding",
        {"_target_": "captionlab.decoding.Sampling", "num_samples": HUGE},
    ),
    "no_repeat_ngram": ("decoding/no_repeat_ngram", HUGE),
    "an integer of 10,000 digits": ("model/decoder/hidden", 10**10_000),
    "a vision transformer of a billion layers": (
        "model/encoder",
        hugging_face(architecture={**VIT, "num_hidden_layers": HUGE}),
    ),
    "a vision transformer of a million layers": (
        "model/encoder",
        hugging_face(architecture={**VIT, "num_hidden_layers": 10**6}),
    ),
    "a vision transformer that is wide": (
        "model/encoder",
        hugging_face(architecture={**VIT, "hidden_size": 10**6}),
    ),
    "a language model of a billion words": (
        "model/decoder",
        language_model(architecture={**GPT2, "vocab_size": HUGE}),
    ),
    "a language model with endless positions": (
        "model/decoder",
        language_model(architecture={**GPT2, "n_positions": 2**24}),
    ),
    "a network far larger than its weights": (
        "model/encoder",
        encoder(_target_=TORCHVISION, name="vit_h_14", image_size=224),
    ),
}
POINTERS = {
    "weights of a hub": ("model/encoder", encoder(_target_=TORCHVISION, weights="DEFAULT")),
    "weights by default": ("model/encoder", {"_target_": TORCHVISION, "name": "resnet18"}),
    "timm's weights": (
        "model/encoder",
        encoder(_target_=TIMM, name="resnet10t", weights="DEFAULT"),
    ),
    "timm's hub": ("model/encoder", encoder(_target_=TIMM, name="hf-hub:stranger/model")),
    "timm's folder": ("model/encoder", encoder(_target_=TIMM, name="local-dir:/etc")),
    "a name of the hub": ("model/encoder", hugging_face(name="stranger/x", architecture=None)),
    "a folder": ("model/encoder", hugging_face(name="/etc", architecture=None)),
    "no architecture": (
        "model/encoder",
        {"_target_": HF, "name": "stranger/model", "image_size": 32},
    ),
    "a language model as encoder": ("model/encoder", hugging_face(name="gpt2", architecture=None)),
    "a captioner by name": ("model/encoder", vision(name="stranger/x", architecture=None)),
    "a captioner's weights": ("model/encoder", vision(weights="DEFAULT")),
    "a captioner within a captioner": (
        "model/decoder",
        language_model(_target_=TEXT, architecture={**PAIR, "decoder": {"model_type": "stranger"}}),
    ),
    "a captioner's backbone": (
        "model/encoder",
        vision(architecture={**PAIR, "encoder": {**VIT, "backbone": "stranger/x"}}),
    ),
    "a language model by name": (
        "model/decoder",
        language_model(name="stranger/model", architecture=None),
    ),
    "a language model's weights": (
        "model/decoder",
        language_model(name="stranger/model", weights="DEFAULT", architecture=None),
    ),
    **{
        f"an architecture's {name}": (
            "model/encoder",
            hugging_face(architecture={**VIT, name: value}),
        )
        for name, value in {
            "auto_map": {"AutoModel": "stranger/model--code.Model"},
            "trust_remote_code": True,
            "_name_or_path": "stranger/model",
            "attn_implementation": "stranger/kernels",
            "quantization_config": {"quant_method": "gptq"},
            "backbone": "stranger/model",
            "use_timm_backbone": True,
            "model_type": "timm_backbone",
        }.items()
    },
    "an architecture within an architecture": (
        "model/encoder",
        hugging_face(
            architecture={"model_type": "clip", "vision_config": {**VIT, "backbone": "stranger/x"}}
        ),
    ),
    "an architecture without a type": ("model/encoder", hugging_face(architecture={"a": 1})),
    "the environment": ("data/source/language", "${oc.env:HOME}"),
    "another resolver": ("decoding/max_length", "${hydra:runtime.cwd}"),
    "a resolver in a resolver": ("decoding/max_length", "${oc.decode:${oc.env:HOME}}"),
    "a reference to nothing": ("decoding/max_length", "${decoding.nothing}"),
    "a reference to itself": ("decoding/max_length", "${decoding.max_length}"),
    "a reference in a circle": ("decoding", {"a": "${decoding.b}", "b": "${decoding.a}"}),
    "a reference that is cut": ("decoding/max_length", "${decoding."),
    "a billion laughs": ("decoding/laughs", laughs(12)),
}
STRUCTURE = {
    "no config": (CONFIG, DROPPED),
    "config is a list": (CONFIG, []),
    "no model": (f"{CONFIG}/model", DROPPED),
    "model is a text": (f"{CONFIG}/model", "tiny"),
    "no encoder": (f"{CONFIG}/model/encoder", DROPPED),
    "encoder is a text": (f"{CONFIG}/model/encoder", "resnet50"),
    "encoder without a class": (f"{CONFIG}/model/encoder", {}),
    "no attention": (f"{CONFIG}/model/attention", None),
    "no decoding": (f"{CONFIG}/decoding", DROPPED),
    "decoding without a class": (f"{CONFIG}/decoding", {"max_length": 5}),
    "no data": (f"{CONFIG}/data", DROPPED),
    "a key that is no text": (f"{CONFIG}/model", {5: 6}),
    "lists in lists": (f"{CONFIG}/decoding/bad_endings", shared_lists(8)),
    "a set": (f"{CONFIG}/decoding/bad_endings", {1, 2}),
    "a tensor": (f"{CONFIG}/decoding/max_length", torch.zeros(1)),
    "bytes": (f"{CONFIG}/model/name", b"tiny"),
    "a tuple with a class": (f"{CONFIG}/decoding/bad_endings", (RUN,)),
    "no tokenizer": ("captionlab/tokenizer", DROPPED),
    "tokenizer is a list": ("captionlab/tokenizer", []),
    "tokenizer of no kind": ("captionlab/tokenizer", {"kind": "os.system", "format": 1}),
    "tokenizer of a list kind": ("captionlab/tokenizer", {"kind": ["word"], "format": 1}),
    "words are a number": ("captionlab/tokenizer", {"kind": "word", "format": 1, "words": 5}),
    "words are numbers": ("captionlab/tokenizer", {"kind": "word", "format": 1, "words": [1, 2]}),
    "words are lists": ("captionlab/tokenizer", {"kind": "word", "format": 1, "words": [["a"]]}),
    "words of another number": (
        "captionlab/tokenizer",
        {"kind": "word", "format": 1, "words": ["a", "b"]},
    ),
    "pieces are no JSON": (
        "captionlab/tokenizer",
        {"kind": "subword", "format": 1, "json": "{"},
    ),
    "pieces are a number": ("captionlab/tokenizer", {"kind": "subword", "format": 1, "json": 5}),
    "no pieces": ("captionlab/tokenizer", {"kind": "pretrained", "format": 1}),
    "overrides are a number": ("captionlab/overrides", 5),
    "scores are a list": ("captionlab/scores", [1]),
    "data are a list": ("captionlab/data", [1]),
    "format is a text": ("captionlab/format", "2"),
    "format is true": ("captionlab/format", True),
    "no weights": ("state_dict", DROPPED),
    "weights are a list": ("state_dict", [1]),
    "empty weights": ("state_dict", {}),
    "a weight is a text": ("state_dict/captioner.encoder.positions", "a"),
    "a weight is missing": ("state_dict/captioner.encoder.positions", DROPPED),
    "a weight is sparse": (
        "state_dict/captioner.encoder.positions",
        torch.sparse_coo_tensor(size=(10**6, 10**6), check_invariants=False),
    ),
    "a weight is on no device": (
        "state_dict/captioner.encoder.positions",
        torch.empty(10**6, 10**6, device="meta"),
    ),
    "a weight repeats one number": (
        "state_dict/captioner.encoder.positions",
        torch.zeros(1).expand(10**6, 10**6),
    ),
    "a weight is whole numbers": (
        "state_dict/captioner.encoder.positions",
        torch.zeros(16, 128, dtype=torch.int64),
    ),
    "a weight of another shape": (
        "state_dict/captioner.encoder.positions",
        torch.zeros(1, 1),
    ),
}
CASES = {
    **{name: (f"{CONFIG}/{key}", value) for name, (key, value) in NAMES.items()},
    **{f"size: {name}": (f"{CONFIG}/{key}", value) for name, (key, value) in SIZES.items()},
    **{name: (f"{CONFIG}/{key}", value) for name, (key, value) in POINTERS.items()},
    **STRUCTURE,
}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return honest("model/tags=null")


def load(path: Path) -> None:
    """Do with a checkpoint what predict and evaluate do before they look at an image."""
    load_captioner(path)
    configure(read_checkpoint(path), [], [])


def refuse(path: Path) -> str:
    """Load a file that must be refused; return the sentence."""
    modules = set(sys.modules)
    forget_peak()
    before = peak_memory()
    with watched() as watch, pytest.raises(UserError) as error:
        load(path)
    assert not watch.written
    assert not watch.connected
    assert not watch.started
    assert peak_memory() - before < MEMORY
    assert not {"antigravity", "this"} & (set(sys.modules) - modules)
    assert not Path("pwned").exists()
    sentence = str(error.value)
    assert 20 < len(sentence) < 2_000
    return sentence


def test_an_honest_one_loads(content: dict[str, Any], tmp_path: Path):
    torch.save(content, tmp_path / "best.ckpt")
    with watched() as watch:
        load(tmp_path / "best.ckpt")
    assert not watch.written
    assert not watch.connected


@pytest.mark.parametrize("key", ["model/encoder/weights", "model/decoder/embeddings"])
def test_a_file_that_is_named_is_not_read(content: dict[str, Any], tmp_path: Path, key: str):
    named = tmp_path / "secret.txt"
    named.write_text("secret 1 2 3")
    torch.save(changed(content, f"{CONFIG}/{key}", str(named)), tmp_path / "best.ckpt")
    with watched() as watch:
        load(tmp_path / "best.ckpt")
    assert str(tmp_path / "best.ckpt") in watch.opened
    assert str(named) not in watch.opened


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_one_is_refused(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.chdir(tmp_path)
    key, value = CASES[name]
    path = tmp_path / "hostile.ckpt"
    torch.save(changed(content, key, value), path)
    refuse(path)


@pytest.mark.parametrize("key", ["max_length", "memory_slots", "feed_forward", "encoder_layers"])
def test_a_transformers_sizes_are_held_against_its_weights(tmp_path: Path, key: str):
    path = tmp_path / "hostile.ckpt"
    content = honest(*TRANSFORMER)
    for value in (HUGE, 2**23):
        torch.save(changed(content, f"{CONFIG}/model/decoder/{key}", value), path)
        refuse(path)


TOWER = (
    "model/encoder=hf_clip_vit_b_32",
    "model.encoder.name=none",
    "model.encoder.weights=null",
    "model.encoder.architecture={model_type:clip_vision_model,hidden_size:16,intermediate_size:16,"
    "num_hidden_layers:2,num_attention_heads:2,image_size:32,patch_size:8,projection_dim:10}",
    "model.encoder.image_size=32",
    "model.encoder.layers=[-2,-1]",
    "model.encoder.pooled=projection",
)
TOWERS = {
    "wide": ("architecture/projection_dim", HUGE),
    "wide, less": ("architecture/projection_dim", 2**23),
    "another width": ("architecture/projection_dim", 11),
    "no width": ("architecture/projection_dim", 0),
    "negative": ("architecture/projection_dim", -8),
    "a text": ("architecture/projection_dim", "8"),
    "a list": ("architecture/projection_dim", [8]),
    "null": ("architecture/projection_dim", None),
    "the mean instead": ("pooled", "mean"),
    "a vector of no kind": ("pooled", "os.system"),
    "one layer": ("layers", [-1]),
    "layers that are not there": ("layers", [-3, -1]),
    "a layer twice": ("layers", [-1, 1]),
    "a width that is a text": ("architecture/hidden_size", "16"),
    "another model": ("architecture/model_type", "vit"),
}


@pytest.fixture(scope="module")
def tower() -> dict[str, Any]:
    return honest(*TOWER, "model/tags=null")


def test_an_honest_tower_loads_with_its_embedding(tower: dict[str, Any], tmp_path: Path):
    torch.save(tower, tmp_path / "best.ckpt")
    loaded = load_captioner(tmp_path / "best.ckpt").captioner
    memory = loaded.encode(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert memory.pooled.shape == (1, 10)
    assert memory.slots.shape == (1, 16, 32)


@pytest.mark.parametrize("name", TOWERS)
def test_a_hostile_tower_is_refused(tower: dict[str, Any], tmp_path: Path, name: str):
    key, value = TOWERS[name]
    path = tmp_path / "hostile.ckpt"
    torch.save(changed(tower, f"{CONFIG}/model/encoder/{key}", value), path)
    refuse(path)


# --- the file itself ------------------------------------------------------------------------------


def with_call(path: Path, content: dict[str, Any]) -> None:
    torch.save({**content, "more": Calls(os.system, "touch pwned")}, path)


def old_format(path: Path, content: dict[str, Any]) -> None:
    path.write_bytes(legacy(content))


def old_format_with_call(path: Path, content: dict[str, Any]) -> None:
    path.write_bytes(legacy({**content, "more": Calls(os.system, "touch pwned")}))


def packed(path: Path, content: dict[str, Any]) -> None:
    """Zeros that unpack to 4 GB from a few MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}, 2))
        with archive.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(64):
                member.write(bytes(2**20))
        archive.writestr("archive/version", "3\n")


def packed_honest(path: Path, content: dict[str, Any]) -> None:
    torch.save(content, path)
    rewritten(path, lambda name, data: data, packed=True)


def claims_more(path: Path, content: dict[str, Any]) -> None:
    """A tensor of 4 numbers whose storage is said to hold 2**30."""
    torch.save({**content, "state_dict": {"captioner.x": torch.zeros(4)}}, path)

    def grow(name: str, data: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return data
        four, more = b"K\x04", b"J" + (2**30).to_bytes(4, "little")
        return data.replace(four, more)

    rewritten(path, grow)


def no_storage(path: Path, content: dict[str, Any]) -> None:
    torch.save(content, path)
    rewritten(path, lambda name, data: None if "/data/" in name else data)


def no_pickle(path: Path, content: dict[str, Any]) -> None:
    torch.save(content, path)
    rewritten(path, lambda name, data: None if name.endswith("data.pkl") else data)


def deep_pickle(path: Path, content: dict[str, Any]) -> None:
    torch.save(content, path)
    deep = pickle.PROTO + b"\x02" + pickle.EMPTY_LIST * 10**5 + pickle.STOP
    rewritten(path, lambda name, data: deep if name.endswith("data.pkl") else data)


def another_object(path: Path, content: dict[str, Any]) -> None:
    torch.save([content], path)


def another_project(path: Path, content: dict[str, Any]) -> None:
    torch.save({"state_dict": content["state_dict"]}, path)


def entry_is_a_list(path: Path, content: dict[str, Any]) -> None:
    torch.save({**content, "captionlab": [content["captionlab"]]}, path)


def no_bytes(path: Path, content: dict[str, Any]) -> None:
    path.write_bytes(b"")


def a_page(path: Path, content: dict[str, Any]) -> None:
    path.write_text("<!doctype html><html>Sign in</html>")


def another_archive(path: Path, content: dict[str, Any]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../pwned", "x")


FILES = [
    *(with_call, old_format, old_format_with_call, packed, packed_honest, claims_more, no_storage),
    *(no_pickle, deep_pickle, another_object, another_project, entry_is_a_list, no_bytes, a_page),
    another_archive,
]


@pytest.mark.parametrize("write", FILES, ids=lambda write: write.__name__)
def test_a_hostile_file_is_refused(
    content: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path, dict[str, Any]], None],
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "hostile.ckpt", content)
    refuse(tmp_path / "hostile.ckpt")


def test_a_checkpoint_cut_at_any_place_is_refused(content: dict[str, Any], tmp_path: Path):
    torch.save(content, tmp_path / "best.ckpt")
    whole = (tmp_path / "best.ckpt").read_bytes()
    for place in range(50):
        (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) * place // 50])
        refuse(tmp_path / "cut.ckpt")


def test_padding_asked_for_by_a_tokenizer_is_not_done(tmp_path: Path):
    from captionlab.text.tokenizers import SubwordTokenizer, tokenizer_from_dict

    entry = SubwordTokenizer.fit(["a red circle"] * 6, size=300).to_dict()
    padded = entry["json"].replace(
        '"padding":null',
        '"padding":{"strategy":{"Fixed":1000000},"direction":"Right","pad_to_multiple_of":null,'
        '"pad_id":0,"pad_type_id":0,"pad_token":"a"}',
    )
    assert padded != entry["json"]
    assert len(tokenizer_from_dict({**entry, "json": padded}).encode("a red circle")) < 20


def test_a_data_sets_name_leads_to_no_other_folder():
    from captionlab.runs.evaluation_folder import folder_name

    assert folder_name("../../etc", "test", "") == "_.._etc-test"
    assert "/" not in folder_name("a/b", "../c")
