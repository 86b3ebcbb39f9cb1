"""The examples of README and docs work as they are printed, and the pages can be built."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import types
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

import captionlab
from captionlab.build import Sizes, build_captioner
from captionlab.cli.main import parser
from captionlab.config.check import RUNTIME_ARGUMENTS, check
from captionlab.config.compose import compose, config_dir
from captionlab.config.folder import choices
from captionlab.data.dataset import CaptionBatch
from captionlab.decoding import Greedy
from captionlab.objectives.adversarial.build import build_gan
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText
from tests_support import tiny_captioner, tiny_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
# tests/test_outside_parts.py makes the project of this page and runs its commands
OWN_PROJECT = "docs/guides/own-project.md"
BLOCKS = [
    block
    for page, text in TEXTS.items()
    if page != OWN_PROJECT
    for block in re.findall(r"```(python|yaml)\n(.*?)```", text, re.DOTALL)
]
COMMANDS = [
    (page, line.strip())
    for page, text in TEXTS.items()
    if page != OWN_PROJECT
    for line in re.findall(r"^    ((?:python train\.py|captionlab) .*)$", text, re.MULTILINE)
]


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
        exec(compile(code, module.__name__, "exec"), vars(module))
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
    text = TEXTS["docs/guides/compose.md"]
    for group, row in re.findall(r"^\| `([a-z/]+)` \| (.*) \|$", text, re.MULTILINE):
        named = {path.stem for path in (config_dir() / group).glob("*.yaml")}
        for choice in re.findall(r"`([a-z0-9_]+)`", row):
            assert choice in named, f"{group}={choice}"


@pytest.mark.parametrize("page", TEXTS)
def test_no_command_stands_outside_a_block(page: str):
    # a line that lost its four spaces is a paragraph, with all that follow it
    text = re.sub(r"```.*?```", "", TEXTS[page], flags=re.DOTALL)
    command = r"python train\.py|captionlab (?:train|evaluate|predict|compare)|pip install"
    assert not re.findall(rf"^ {{0,3}}(?:{command}) .*", text, re.MULTILINE)


def test_every_preset_and_part_stands_in_the_table():
    text = TEXTS["docs/guides/compose.md"]
    rows = dict(re.findall(r"^\| `([a-z/]+)` \| (.*) \|$", text, re.MULTILINE))
    for group in ("model", "model/decoder", "model/attention", "objective", "decoding"):
        missing = set(choices(group)) - set(re.findall(r"`([a-z0-9_]+)`", rows[group]))
        assert not missing, f"add to the row of {group} in docs/guides/compose.md: {missing}"


def test_the_shown_default_is_the_default():
    assert "`tiny` (default)" in TEXTS["docs/guides/compose.md"]
    assert tiny_config()["model"]["name"] == "tiny"
    assert tiny_captioner() is not None


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_command_is_understood(page: str, command: str):
    words = [word for word in shlex.split(command, comments=True) if word != "..."]
    if words[0] == "captionlab":
        parser().parse_args(words[1:])
        return
    overrides = [word for word in words[2:] if not word.startswith("-")]
    if any(word.startswith("-") and word != "-m" for word in words[2:]):
        return  # --help, --cfg: of Hydra
    if "-m" in words:
        overrides = [re.sub(r"^([^=]+=[^,]+),.*", r"\1", word) for word in overrides]
        overrides = [word for word in overrides if not word.startswith(("hydra", "sweep="))]
    shown = {match for _, text in BLOCKS for match in re.findall(r"^# conf/(\S+)\.yaml", text)}
    if any(word.replace("=", "/", 1) in shown for word in overrides):
        return  # a choice that the page itself makes, which other tests build
    compose(overrides)


def test_links_of_the_readme_lead_somewhere():
    for page, text in TEXTS.items():
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if not link.startswith("http"):
                assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"


def test_every_term_of_the_glossary_is_a_name_in_the_code():
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    terms = re.findall(r"^\| `([^`]+)` \|", TEXTS["docs/glossary.md"], re.MULTILINE)
    assert len(terms) > 10
    for term in terms:
        assert re.search(rf"\b{re.escape(term)}\b", sources), term


def test_every_module_of_the_api_pages_exists_and_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page, text in TEXTS.items():
        assert page == "README.md" or page.removeprefix("docs/") in menu, page
        for module in re.findall(r"^::: (\S+)$", text, re.MULTILINE):
            assert importlib.util.find_spec(module) is not None, module


def test_public_files_are_readable():
    for path in (ROOT / ".github").rglob("*.yml"):
        assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict), path
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text("utf-8"))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "run" not in step or step["run"].removeprefix("make ") in targets
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == captionlab.__version__


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "models.html").exists()
