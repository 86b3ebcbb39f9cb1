"""A value has one owner: where a YAML and a signature both give it, they give the same one.

A YAML may differ from the default of a class of captionlab where it says why, by a comment on the
line, or where it stands over a base: the difference is what it is for. What it has from the base
must fit its own class too. Defaults of other libraries are theirs, and change with them.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from captionlab.config.compose import config_dir
from captionlab.core.targets import locate

CONF = config_dir()
PATHS = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml"))


class Difference(NamedTuple):
    key: str
    value: Any
    default: Any
    commented: bool


def differences(path: Path) -> Iterator[Difference]:
    """Yield the values of a YAML file that are not the defaults of the class that takes them."""
    text = path.read_text(encoding="utf-8")
    plain = yaml.safe_load(text)
    bases = [one for one in plain.get("defaults", ()) if is_base_of(one, path)]
    if not bases:
        yield from differences_below(yaml.compose(text), plain, text.splitlines(), "")
    elif "_target_" in plain:
        for base in bases:
            inherited = (path.parent / f"{base}.yaml").read_text(encoding="utf-8")
            values = {**yaml.safe_load(inherited), "_target_": plain["_target_"]}
            values = {
                key: "???" if key in plain and key != "_target_" else value
                for key, value in values.items()
            }
            yield from differences_below(
                yaml.compose(inherited), values, inherited.splitlines(), ""
            )


def is_base_of(entry: Any, path: Path) -> bool:
    """Return whether an entry of a defaults list names a file beside that of the list."""
    return isinstance(entry, str) and (path.parent / f"{entry}.yaml").is_file()


def differences_below(
    node: yaml.Node, plain: Any, lines: list[str], prefix: str
) -> Iterator[Difference]:
    if not isinstance(node, yaml.MappingNode):
        return
    defaults = defaults_of(plain.get("_target_"))
    for key_node, child in node.value:
        key = key_node.value
        value = plain[key]
        if key in defaults and is_given(value) and not is_same(value, defaults[key]):
            commented = " #" in lines[key_node.start_mark.line]
            yield Difference(prefix + key, value, defaults[key], commented)
        yield from differences_below(child, value, lines, f"{prefix}{key}.")


def defaults_of(target: str | None) -> dict[str, Any]:
    if target is None or not target.startswith("captionlab."):
        return {}
    parameters = inspect.signature(locate(target)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def is_given(value: Any) -> bool:
    """Return whether a YAML gives the value itself: not another key, and not the user."""
    return value != "???" and "${" not in str(value)


def is_same(value: Any, default: Any) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return value is default
    default = list(default) if isinstance(default, tuple) else default
    if isinstance(value, str) and isinstance(default, float):
        return float(value) == default  # YAML 1.1 reads 1e-3 as a text; OmegaConf as a number
    return value == default


@pytest.mark.parametrize("path", PATHS)
def test_a_yaml_and_a_signature_give_the_same_value(path: str):
    unexplained = [one for one in differences(CONF / path) if not one.commented]
    assert not unexplained, "say why in a comment on the line, or bring both in line"


def test_a_value_of_a_base_that_does_not_fit_the_class_over_it_is_seen(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "_target_: captionlab.decoding.Greedy\nmin_length: 1\nmax_length: 9\n"
    )
    over = tmp_path / "beam.yaml"
    over.write_text("defaults: [base, _self_]\n_target_: captionlab.decoding.Beam\nmin_length: 2\n")
    assert [one.key for one in differences(over)] == ["max_length"]


def test_an_unexplained_difference_is_seen_and_a_comment_explains_it(tmp_path):
    file = tmp_path / "beam.yaml"
    file.write_text(
        "_target_: captionlab.decoding.Beam\nbeam_size: 7\nlength_penalty: 0.7 # why\ngroups: 1\n"
    )
    assert [(one.key, one.commented) for one in differences(file)] == [
        ("beam_size", False),
        ("length_penalty", True),
    ]
