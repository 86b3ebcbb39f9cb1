"""Configurations keep their references: an override reaches every place of use, or is refused."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from captionlab.config.compose import compose
from captionlab.config.folder import choices
from captionlab.config.override import known_references, override
from captionlab.config.references import (
    is_reference,
    keep,
    references,
    resolve_references,
    restore,
)
from captionlab.config.resolve import resolve, with_references
from captionlab.core.errors import UserError

# every data set, and what is needed to see all references of the data
DATA = choices("data")
EXTRAS = choices("data/extra")
VALUES = {"data.root": "elsewhere", "data.language": "zh", "data.source.language": "zh"}


def composed(*overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a configuration as it is written down, and as it is used."""
    config = compose(["output_dir=unused", *overrides])
    for key in ("data.root", "data.extra.source.root"):
        node = OmegaConf.select(config, key.rpartition(".")[0])
        if node is not None and OmegaConf.is_missing(node, key.rpartition(".")[2]):
            OmegaConf.update(config, key, "here")
    used = resolve(config)
    return with_references(config, used), used


def at(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config[name]
    return config


@pytest.mark.parametrize(
    ("name", "extra"), [*((name, None) for name in DATA), *(("csv", extra) for extra in EXTRAS)]
)
def test_an_override_of_a_stored_configuration_reaches_every_place_of_use(name, extra):
    chosen = [f"data={name}"] + ([f"data/extra={extra}"] if extra else [])
    written, used = composed(*chosen)
    assert resolve_references(written, "") == used
    older = restore(used, known_references())  # what checkpoints of before held
    sources = dict(references(written["data"], "data"))
    assert "data.image_size" in sources
    for key, text in sources.items():
        source = text.removeprefix("${").removeprefix("oc.select:").rstrip("}").partition(",")[0]
        if source not in VALUES:
            assert source == "model.encoder.image_size" or at(used, key) is not None
            continue
        for stored in (written, older):
            if source.rpartition(".")[2] not in at(used, source.rpartition(".")[0]):
                with pytest.raises(UserError, match=source):
                    override(stored, [f"{source}={VALUES[source]}"], ("data",))
                continue
            new = override(stored, [f"{source}={VALUES[source]}"], ("data",))
            assert at(new, key) == VALUES[source], (key, source)


def test_every_reference_in_conf_is_kept_or_made_of_what_a_file_cannot_know():
    written, used = composed("logger=wandb", "callbacks=adversarial", "model=gpt2")
    kept = dict(references(written))
    assert kept["callbacks.best.dirpath"] == "${output_dir}/checkpoints"
    assert kept["logger.wandb.name"] == "${model.name}-${data.name}-${seed}"
    assert kept["data.tokenizer.name"] == "${oc.select:model.decoder.name,gpt2}"
    assert written["output_dir"] == "unused"
    assert resolve_references(written, "") == used


@pytest.mark.parametrize("key", ["model.encoder.image_size=16", "output_dir=x", "seed=2"])
def test_what_a_stored_configuration_cannot_change_is_refused(key: str):
    written, _ = composed()
    with pytest.raises(UserError, match="cannot be set here"):
        override(written, [key], ("data", "decoding"))


def test_a_choice_inside_a_group_leaves_the_group_as_it_was():
    written, used = composed("data=flickr8k", "data.root=here")
    new = override(written, ["data/augment=standard"], ("data",))
    assert new["data"]["augment"]["flip"] is True
    assert {k: v for k, v in new["data"].items() if k != "augment"} == used["data"]


def test_an_older_configuration_gets_back_only_the_references_that_explain_its_values():
    _, used = composed("data=csv", "data.root=here")
    used["data"]["source"]["root"] = "there"
    assert restore(used, known_references())["data"]["source"]["root"] == "there"
    assert restore(used, known_references())["data"]["image_size"].startswith("${")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${a.b}", 5),
        ("${ a.b }", 5),
        ("x-${a.b}-${a.c}", "x-5-text"),
        ("${oc.select:a.nothing,7}", 7),
        ("${oc.select:a.nothing, 'x y'}", "x y"),
        ("${oc.select:a.nothing}", None),
        ("${oc.select:a.none,7}", None),
        ("${a.list}", [1, 2]),
        ("${a.chain}", 5),
    ],
)
def test_references_mean_what_omegaconf_means(text: str, value: Any):
    config = {
        "a": {"b": 5, "c": "text", "none": None, "list": [1, 2], "chain": "${a.b}"},
        "x": text,
    }
    assert is_reference(text)
    assert resolve_references(config, "")["x"] == value
    assert OmegaConf.to_container(OmegaConf.create(config), resolve=True)["x"] == value


@pytest.mark.parametrize(
    "text", ["${oc.env:HOME}", "${hydra:runtime.cwd}", "${a", "${a.${b}}", "${a,5}", "${.a}", "${}"]
)
def test_other_interpolations_are_not_kept_and_not_read(text: str):
    assert not is_reference(text)
    assert keep({"x": text}, {"x": "value"}) == {"x": "value"}
    with pytest.raises(UserError, match="x="):
        resolve_references({"a": 1, "x": text}, "file")


def test_circles_and_explosions_end_in_a_sentence():
    circle = {"a": "${b}", "b": "${a}"}
    rows: dict[str, Any] = {"a0": "ha" * 50}
    rows |= {f"a{i}": f"${{a{i - 1}}}" * 10 for i in range(1, 12)}
    for config in (circle, rows, {"a": {"b": "${a}"}}):
        with pytest.raises(UserError):
            resolve_references(config, "file")
