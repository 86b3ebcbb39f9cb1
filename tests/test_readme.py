"""The README's examples work as they are printed."""

import re
import sys
import types
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from captionlab.build import Sizes, build_captioner
from captionlab.config.check import RUNTIME_ARGUMENTS, check
from captionlab.config.compose import config_dir
from captionlab.data.dataset import CaptionBatch
from captionlab.decoding import Greedy
from captionlab.objectives.adversarial.build import build_gan
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText
from tests_support import tiny_captioner, tiny_config

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```(python|yaml)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def module_of(code: str) -> str:
    path = re.match(r"# src/(captionlab/\S+)\.py", code)
    assert path is not None, code
    return path.group(1).replace("/", ".")


@pytest.fixture(scope="module")
def modules():
    names = []
    for code in (code for kind, code in BLOCKS if kind == "python"):
        module = types.ModuleType(module_of(code))
        sys.modules[module.__name__] = module
        names.append(module.__name__)
        exec(compile(code, str(README), "exec"), vars(module))
        parent, _, leaf = module.__name__.rpartition(".")
        setattr(sys.modules[parent], leaf, module)
    yield
    for name in names:
        del sys.modules[name]


def node(name: str) -> dict:
    """Return the YAML block whose first line names this file of conf/."""
    for kind, text in BLOCKS:
        if kind == "yaml" and text.startswith(f"# conf/{name}.yaml"):
            return yaml.safe_load(text)
    raise AssertionError(f"no YAML for {name}")


def batch(size: int) -> CaptionBatch:
    tokens = torch.tensor([[[1, 5, 6, 2], [1, 7, 2, 0]]]).repeat(2, 1, 1)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    return CaptionBatch(images, tokens, torch.tensor([[4, 3], [4, 3]]), [0, 1], [["a"], ["b"]])


@pytest.mark.parametrize(
    "own",
    [
        {"encoder": "model/encoder/patches"},
        {"attention": "model/attention/cosine"},
        {"decoder": "model/decoder/bag"},
    ],
    ids=lambda own: next(iter(own)),
)
def test_own_parts_train_and_write(modules, own: dict[str, str]):
    config = tiny_config()
    for part, name in own.items():
        config["model"][part] = node(name)
        assert f"model.{part}" not in RUNTIME_ARGUMENTS or config["model"][part]["_partial_"]
    check(config)
    captioner = build_captioner(config["model"], Sizes(11, 0))
    from captionlab.objectives.focal import Focal

    example = batch(captioner.encoder.image_size)
    loss, diagnostics = Focal(
        **{k: v for k, v in node("objective/focal").items() if k != "_target_"}
    )(captioner, example)
    loss.backward()
    assert diagnostics["nll"] > loss
    memory = captioner.eval().encode(example.images)
    generated = Greedy(max_length=5)(captioner, memory, bos_id=1, eos_id=2, pad_id=0)
    assert generated.tokens.shape[:2] == (2, 1)


def test_own_decoder_steps_like_it_trains(modules):
    config = tiny_config()
    config["model"]["decoder"] = node("model/decoder/bag")
    captioner = build_captioner(config["model"], Sizes(11, 0)).eval()
    memory = captioner.encode(batch(32).images)
    tokens = torch.tensor([[[1, 5, 6]], [[1, 7, 8]]])
    hidden, *_ = captioner.decoder(memory, tokens)
    state = captioner.init_state(memory, 1)
    for t in range(3):
        logits, state = captioner.step(tokens[:, :, t], state)
        torch.testing.assert_close(logits, captioner.logits(hidden[:, :, t]))


@pytest.mark.parametrize("how", [{"rollouts": 1}, {"estimator": "gumbel"}], ids=str)
def test_an_own_discriminator_is_learned_and_listened_to(modules, how: dict):
    from captionlab.models.my_discriminator import BagDiscriminator

    config = node("objective/discriminator/bag")
    assert config.pop("_partial_")
    assert config.pop("_target_") == "captionlab.models.my_discriminator.BagDiscriminator"
    reward = Reward(cider=1.0)
    text = {i: [[5, 6, 2], [7, 2]] for i in range(2)}
    reward.prepare(TrainingText(text, decode=str, tokenize=str.split))
    objective = build_gan(
        discriminator=partial(BagDiscriminator, **config),
        reward=reward,
        warm_up_steps=0,
        least_accuracy=0.0,
        **how,
    )
    captioner = tiny_captioner(vocabulary=9).train()
    loss, diagnostics = objective(captioner, batch(32))
    loss.backward()
    objective.on_before_optimizer_step()
    assert diagnostics["lambda"] > 0
    assert objective.trainer.gradient_norm > 0
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in captioner.parameters())


def test_own_data_are_read(modules, tmp_path: Path):
    from captionlab.data.my_data import Postcards

    lines = [f"{i}.jpg\tthe sea at {i} o'clock" for i in range(20)]
    (tmp_path / "cards.txt").write_text("\n".join(lines), encoding="utf-8")
    cards = Postcards(root=str(tmp_path))
    assert len(cards.records("train")) == 18
    assert cards.records("val")[0].captions == ("the sea at 0 o'clock",)
    assert node("data/postcards")["source"]["_target_"] == "captionlab.data.my_data.Postcards"


def test_every_choice_in_the_table_exists():
    text = README.read_text(encoding="utf-8")
    for group, choices in re.findall(r"^\| `([a-z/]+)` \| (.*) \|$", text, re.MULTILINE):
        named = {path.stem for path in (config_dir() / group).glob("*.yaml")}
        for choice in re.findall(r"`([a-z0-9_]+)`", choices):
            assert choice in named, f"{group}={choice}"


def test_the_shown_default_is_the_default():
    assert "`tiny` (default)" in README.read_text(encoding="utf-8")
    assert tiny_config()["model"]["name"] == "tiny"
    assert tiny_captioner() is not None
