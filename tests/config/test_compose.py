"""Every YAML composes, and every part it names can be built with the values it gives."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from captionlab.config.check import check
from captionlab.config.compose import compose, config_dir
from captionlab.config.folder import choices, groups, is_base, list_choices
from captionlab.config.resolve import resolve
from captionlab.core.errors import UserError
from captionlab.sweeps.space import Range

CONF = config_dir()
WANDB_SWEEP = CONF / "sweep" / "wandb.yaml"  # read by W&B, not by Hydra
GROUPS = sorted(
    (str(path.parent.relative_to(CONF)), path.stem)
    for path in CONF.rglob("*.yaml")
    if path.parent != CONF and path.parent.name != "experiment" and path != WANDB_SWEEP
    if not is_base(path.stem)
)
# groups that only some choices of their parent have
NEEDS = {
    "objective/reward": ("objective=self_critical",),
    "objective/discriminator": ("objective=adversarial",),
}
EXPERIMENTS = choices("experiment")


def check_whole(*overrides: str) -> None:
    config = compose([*overrides, "output_dir=unused"])
    for key in ("data.root", "data.features", "data.extra.source.root"):
        parent, _, leaf = key.rpartition(".")
        node = OmegaConf.select(config, parent)
        if node is not None and OmegaConf.is_missing(node, leaf):
            node[leaf] = "anywhere"  # only the user knows it
    check(resolve(config))


@pytest.mark.parametrize(("group", "name"), GROUPS, ids=lambda part: part)
def test_every_yaml_composes_and_fits_its_signatures(group: str, name: str):
    check_whole(*NEEDS.get(group, ()), f"{group}={name}")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(name: str):
    check_whole(f"experiment={name}")


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_yaml_says_what_it_is_first(path: Path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(("# ", "# @package"))
    assert len(first) > 15


def test_a_base_is_no_choice_and_every_base_is_used():
    bases = {path for path in CONF.rglob("*.yaml") if is_base(path.stem)}
    assert not [name for group in groups() for name in choices(group) if is_base(name)]
    for base in bases:
        texts = (path.read_text(encoding="utf-8") for path in base.parent.glob("*.yaml"))
        assert any(f"\n  - {base.stem}\n" in text for text in texts), base
    assert "base" not in list_choices()
    with pytest.raises(UserError, match="resnet50") as caught:
        compose(["model/encoder=resent50"])
    assert "base" not in str(caught.value)


def test_an_encoder_swap_leaves_no_value_behind():
    before = compose(["model=attn_lstm"]).model.encoder
    swapped = compose(["model=attn_lstm", "model/encoder=small_cnn"]).model.encoder
    own = OmegaConf.load(CONF / "model" / "encoder" / "small_cnn.yaml")
    assert OmegaConf.to_container(swapped) == OmegaConf.to_container(own)
    assert before != swapped


SEARCHES = sorted(name for group, name in GROUPS if group == "sweep" and name != "slurm")


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_chooses_among_settings_that_there_are(name: str):
    space = {}
    for file in dict.fromkeys(("optuna", name)):
        space |= OmegaConf.load(CONF / "sweep" / f"{file}.yaml").hydra.sweeper.space
    config = compose([f"sweep={name}", "output_dir=unused"])
    for key, value in space.items():
        assert OmegaConf.select(config, key) is not None, key
        # both ends of what is searched pass the checks
        plain = OmegaConf.to_container(OmegaConf.create({"of": value}))["of"]
        for end in plain if isinstance(plain, list) else (plain["low"], plain["high"]):
            check_whole(f"sweep={name}", f"{key}={end}")
        Range.read(key, plain)


def test_what_a_wandb_agent_types_composes():
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep = yaml.safe_load(WANDB_SWEEP.read_text())
    ends = {
        key: (own["values"][0], own["values"][-1]) if "values" in own else (own["min"], own["max"])
        for key, own in sweep["parameters"].items()
    }
    for end in (0, 1):
        chosen = {
            key: {"value": float(values[end]) if key.endswith("lr") else values[end]}
            for key, values in ends.items()
        }
        typed = utils.create_sweep_command_args({"args": chosen})["args_no_hyphens"]
        assert len(typed) == len(ends)
        check_whole("logger=wandb", *typed)
    assert sweep["command"][-1] == "${args_no_hyphens}"
    assert sweep["metric"] == {"name": "val/cider", "goal": "maximize"}
