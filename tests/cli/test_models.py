"""The table of presets says what the presets are."""

import pytest

from captionlab.build import Sizes, build_captioner
from captionlab.cli.models import count, describe, presets
from captionlab.config.compose import compose, config_dir
from captionlab.config.resolve import resolve
from captionlab.inference.weights import without_downloads


def test_every_preset_is_listed_with_its_paper():
    listed = {preset.name: preset for preset in presets()}
    assert set(listed) == {path.stem for path in (config_dir() / "model").glob("*.yaml")}
    assert [name for name, preset in listed.items() if not preset.paper and name != "tiny"] == []


@pytest.mark.parametrize("name", ["tiny", "show_tell"])
def test_parameters_are_those_of_the_built_model(name: str):
    preset = describe(name)
    model = resolve(compose([f"model={name}", "output_dir=unused"]))["model"]
    built = build_captioner(without_downloads(model), Sizes(10_000, pad_id=0))
    assert preset.encoder_parameters == count(built.encoder)
    assert preset.encoder_parameters + preset.other_parameters == count(built)
