"""What a file may name is what conf/ offers, and of the kind that its place wants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from torch import nn

from captionlab.config.compose import config_dir
from captionlab.core.errors import UserError
from captionlab.core.registry import PLACES, is_listed, place_of, require_allowed
from captionlab.core.targets import locate, targets

CONF = config_dir()


def named_in_conf() -> Iterator[tuple[str, str]]:
    """Yield (place, class) of every YAML file of a group that a checkpoint holds."""
    for group in ("model", "data", "decoding"):
        for path in (CONF / group).rglob("*.yaml"):
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            place = ".".join(path.parent.relative_to(CONF).parts)
            for key, node in targets(content, place):
                yield key, node["_target_"]


def test_the_list_is_what_conf_names():
    offered: dict[str, set[str]] = {}
    for place, name in named_in_conf():
        # a source that Joined joins is a source like any other
        joined = place not in PLACES and place_of(place) is PLACES["data.source"]
        offered.setdefault("data.source" if joined else place, set()).add(name)
    offered["model"] = {"captionlab.models.Captioner"}  # the default, which no file names
    offered["data.extra.source"] |= offered["data.source"]  # any source may be an extra one
    for place, names in offered.items():
        listed = set(PLACES[place].classes)
        assert not names - listed, f"add to {place!r} in core/registry.py: {names - listed}"
        assert not listed - names, f"no file of conf/ names: {listed - names}"
    assert set(PLACES) == set(offered)


@pytest.mark.parametrize(
    ("place", "name"), [(p, name) for p, entry in PLACES.items() for name in entry.classes]
)
def test_every_listed_class_is_of_its_places_kind_and_of_no_other(place: str, name: str):
    found = locate(name)
    assert PLACES[place].is_kind(found)
    others = {"model.encoder", "model.decoder", "model.attention", "decoding"} - {place}
    if not place.startswith("data"):
        assert not any(PLACES[other].is_kind(found) for other in others)


class OwnEncoder(nn.Module):
    def forward(self, images):
        return images


class WideEncoder(OwnEncoder):
    def __init__(self, memory_dim: int = 512) -> None:
        super().__init__()


class Unlike:
    pass


def own(name: str) -> dict:
    return {"model": {"encoder": {"_target_": f"{__name__}.{name}"}}}


@pytest.mark.parametrize("trust", [f"{__name__}.OwnEncoder", __name__, f"{__name__}."])
def test_a_class_of_ones_own_is_trusted_by_name_or_package(trust: str):
    with pytest.raises(UserError, match="trust="):
        require_allowed(own("OwnEncoder"))
    require_allowed(own("OwnEncoder"), [trust])
    assert not is_listed(own("OwnEncoder"))


def test_an_encoder_may_call_the_width_that_it_gives_memory_dim():
    require_allowed(own("WideEncoder"), [__name__])


@pytest.mark.parametrize("name", ["Unlike", "own", "CONF"])
def test_what_is_trusted_must_still_be_of_the_right_kind(name: str):
    with pytest.raises(UserError, match=r"model\.encoder\._target_.*kind.*encoder"):
        require_allowed(own(name), [__name__])


def test_a_nested_part_of_a_trusted_package_must_be_a_module():
    config = own("OwnEncoder")
    config["model"]["encoder"]["body"] = {"_target_": f"{__name__}.Unlike"}
    with pytest.raises(UserError, match=r"model\.encoder\.body\._target_.*kind"):
        require_allowed(config, [__name__])


@pytest.mark.parametrize("library", ["torch", "torchvision.", "os", "subprocess", "captionlab"])
def test_a_whole_library_cannot_be_trusted(library: str):
    with pytest.raises(UserError, match=f"trust={library}"):
        require_allowed(own("OwnEncoder"), [library])


def test_a_part_of_a_library_is_trusted_by_its_exact_name_alone():
    config = {"model": {"encoder": {"_target_": "torch.nn.Identity"}}}
    with pytest.raises(UserError, match="trust="):
        require_allowed(config, ["torch.nn"])
    with pytest.raises(UserError, match="kind"):  # and sees no images
        require_allowed(config, ["torch.nn.Identity"])


def test_what_the_user_put_in_place_of_a_files_part_is_the_users():
    stored = {"decoding": {"_target_": "captionlab.decoding.Greedy"}}
    mine = {"decoding": {"_target_": f"{__name__}.Unlike"}}
    require_allowed(mine, stored=stored)
    with pytest.raises(UserError, match="trust="):
        require_allowed(mine, stored=mine)


def test_the_sources_that_are_joined_may_be_listed_sources_and_nothing_else():
    def joined(target: str, **more: object) -> dict[str, object]:
        own = {"_target_": target, **more}
        source = {"_target_": "captionlab.data.readers.Joined", "sources": {"en": own}}
        return {"data": {"source": source}}

    require_allowed(joined("captionlab.data.readers.Flickr8kCN"))
    assert is_listed(joined("captionlab.data.readers.Flickr8kCN"))
    for config in (
        joined("os.system"),
        joined("captionlab.models.Captioner"),
        joined("captionlab.data.readers.Joined", sources={"a": {"_target_": "os.system"}}),
    ):
        with pytest.raises(UserError):
            require_allowed(config)
        assert not is_listed(config)
