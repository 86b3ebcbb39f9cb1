"""Every YAML composes, and every part it names can be built with the values it gives."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from captionlab.configuration import check, compose, config_dir, resolve

CONF = config_dir()
GROUPS = sorted(
    (str(path.parent.relative_to(CONF)), path.stem)
    for path in CONF.rglob("*.yaml")
    if path.parent != CONF and path.parent.name != "experiment"
)
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
# these need a path from the user, which only resolving asks for
NEEDED = ["data.root=anywhere", "output_dir=unused"]


@pytest.mark.parametrize(("group", "name"), GROUPS, ids=lambda part: part)
def test_every_yaml_composes_and_fits_its_signatures(group: str, name: str):
    if (group, name) == ("data", "base"):
        pytest.skip("an abstract base of the others")
    config = compose([f"{group}={name}"])
    if "root" in config.data and OmegaConf.is_missing(config.data, "root"):
        config.data.root = "anywhere"
    for key in OmegaConf.missing_keys(config):
        OmegaConf.update(config, key, "anywhere")
    config.output_dir = "unused"
    check(resolve(config))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(name: str):
    config = compose([f"experiment={name}"])
    for key in OmegaConf.missing_keys(config):
        OmegaConf.update(config, key, "anywhere")
    config.output_dir = "unused"
    check(resolve(config))


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_yaml_says_what_it_is_first(path: Path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(("# ", "# @package"))
    assert len(first) > 15


def test_an_encoder_swap_leaves_no_value_behind():
    before = compose(["model=attn_lstm"]).model.encoder
    swapped = compose(["model=attn_lstm", "model/encoder=small_cnn"]).model.encoder
    own = OmegaConf.load(CONF / "model" / "encoder" / "small_cnn.yaml")
    assert OmegaConf.to_container(swapped) == OmegaConf.to_container(own)
    assert before != swapped
