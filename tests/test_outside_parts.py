"""The project of docs/guides/own-project.md: made as the page shows it, each command run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import captionlab
from captionlab import UserError
from captionlab.cli.main import main
from captionlab.config.compose import compose
from captionlab.config.search_path import (
    added,
    added_dirs,
    as_arguments,
    project_root,
    split_arguments,
)
from captionlab.runs.run import read_run
from captionlab.sweeps.jobs import Job
from captionlab.sweeps.processes import command
from commands_support import SMALL, run_train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/guides/own-project.md").read_text(encoding="utf-8")
FILES = re.findall(r"```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^    (captionlab .*)$", PAGE, re.MULTILINE)
IN_PYTHON = re.findall(r"```python\n(import captionlab\n.*?)```", PAGE, re.DOTALL)
QUICK = [*SMALL, "data.source.train_size=64", "examples=0"]
MINE = ["--config-dir", "conf", "model/encoder=mine", *QUICK]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project that the page shows, as the current folder."""
    folder = tmp_path / "my_project"
    for name, text in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    Image.new("RGB", (60, 40), (200, 20, 20)).save(folder / "photo.jpg")
    monkeypatch.chdir(folder)
    yield folder
    sys.modules.pop("my_encoder", None)


def own_file(project: Path, name: str, text: str) -> None:
    path = project / "conf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def mistake(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the sentence by which a training is refused."""
    with pytest.raises(SystemExit) as ending:
        run_train(Path.cwd(), *arguments)
    assert ending.value.code == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert not list(Path.cwd().glob("runs/*/*"))
    return shown


def call(*arguments: str) -> int:
    """Run the command ``captionlab`` in this process; return its status."""
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    return int(ending.value.code or 0)


def test_the_page_shows_a_whole_project():
    assert [name for name, _ in FILES] == ["my_encoder.py", "conf/model/encoder/mine.yaml"]
    assert len(COMMANDS) == 6
    assert len(IN_PYTHON) == 1


def test_a_part_of_a_project_is_trained_resumed_scored_and_captions(project, capsys):
    path = list(sys.path)
    run_train(project, *MINE, "hydra.run.dir=run", "trainer.max_epochs=1")
    assert "captionlab predict run/checkpoints/best.ckpt photo.jpg --trust my_encoder" in (
        capsys.readouterr().out
    )
    run_train(project, *MINE, "hydra.run.dir=run", "ckpt=run/checkpoints/last.ckpt")
    assert read_run("run").epochs == 2
    assert sys.path == path
    assert not added_dirs()
    best = "run/checkpoints/best.ckpt"
    capsys.readouterr()
    assert call("predict", best, "photo.jpg") == 2
    assert "say --trust my_encoder (in Python: trust=" in capsys.readouterr().err
    sys.modules.pop("my_encoder")  # as in another process
    assert call("predict", best, "photo.jpg", "--trust", "my_encoder") == 0
    assert capsys.readouterr().out.startswith("photo.jpg\t")
    assert call("evaluate", best, "trainer.accelerator=cpu", "--trust", "my_encoder") == 0
    assert sys.path == path


def test_a_part_of_a_project_is_trained_from_python(project):
    run = captionlab.train(["model/encoder=mine", *QUICK], config_dir="conf")
    assert run.config["model.encoder._target_"] == "my_encoder.MyEncoder"
    captioner = captionlab.load_captioner(run.best_checkpoint, trust=["my_encoder"])
    assert captioner("photo.jpg") == captioner.batch(["photo.jpg"])[0]
    with pytest.raises(UserError, match="model/encoder=mine: there is no such choice"):
        captionlab.train(["model/encoder=mine"])
    with pytest.raises(UserError, match="say --trust my_encoder"):
        captionlab.load_captioner(run.best_checkpoint)
    with pytest.raises(UserError, match="a list belongs there"):
        captionlab.load_captioner(run.best_checkpoint, trust="my_encoder")


def test_a_project_adds_choices_everywhere(project):
    own_file(project, "model/patchy.yaml", "defaults: [tiny, override encoder: mine, _self_]\n")
    own_file(project, "experiment/night.yaml", "# @package _global_\n# At night.\nseed: 7\n")
    own_file(project, "loss/mine.yaml", "weight: 1\n")
    with added(["conf"]):
        from captionlab.cli.models import describe

        assert describe("tiny").encoder == "small_cnn"
        with torch.device("cpu"):
            assert describe("patchy").encoder == "mine"
        assert compose(["experiment=night", "model=patchy"]).model.encoder.patch == 16
        assert captionlab.presets["experiment"]["night"] == "At night."
    assert captionlab.Presets("conf")["model/encoder"]["mine"].startswith("Linear patches")
    assert "loss" in captionlab.Presets("conf")
    assert "mine" not in captionlab.presets["model/encoder"]


def test_a_job_of_a_sweep_is_told_of_the_project(project, tmp_path):
    (tmp_path / "more/data").mkdir(parents=True)
    (tmp_path / "more/data/other.yaml").write_text("defaults: [shapes, _self_]\n")
    job = Job(0, ["model/encoder=mine"], tmp_path / "sweep/0", 0, "mine")
    with added(["conf", tmp_path / "more"]):
        arguments = command(job, None)
    start = arguments.index("--config-dir")
    folders, _ = split_arguments(arguments[start:])
    assert folders == [str(project / "conf"), str(tmp_path / "more")]
    assert not as_arguments()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config-dir", "cnof"], "--config-dir cnof: cnof does not exist; did you mean 'conf'?"),
        (["--config-dir", "."], "did you mean --config-dir conf?"),
        (["--config-dir", "my_encoder.py"], "my_encoder.py is no folder"),
        (["-cd", "conf", "--config-dir=conf"], "'hydra.searchpath=[conf,conf]'"),
        (["hydra.searchpath=conf"], "a list of folders belongs there"),
        (["hydra.searchpath=[cnof]"], "did you mean 'conf'?"),
        (["hydra.searchpath=[pkg://no.conf]"], "there is no package no.conf"),
        (["hydra.searchpath=[s3://bucket]"], "say FOLDER, file://FOLDER or pkg://PACKAGE"),
        (["--config-dir", "conf", "model/encoder=mien"], "did you mean 'mine'?"),
        (["model/encoder=mine"], "one of your own is found with --config-dir FOLDER"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistyped_folder_or_choice_is_one_sentence(project, capsys, arguments, sentence):
    assert sentence in mistake(*arguments, capsys=capsys)


@pytest.mark.parametrize(
    ("name", "text", "choice", "sentence"),
    [
        ("resnet50.yaml", "a: 1", "resnet50", "rename it, to my_resnet50.yaml for example"),
        ("other.yml", "a: 1", "other", "other.yml is not read: rename it to other.yaml"),
        ("../encoders/other.yaml", "a: 1", "other", "other.yaml is of model/encoders"),
        ("other.yaml", "_target_: [", "other", "other.yaml, line 1: this is no YAML"),
        ("other.yaml", "_target_: my_encoder.MyEncodr", "other", "did you mean 'MyEncoder'?"),
        ("other.yaml", "_target_: my_encodr.MyEncoder", "other", "did you mean 'my_encoder'?"),
        ("other.yaml", "_target_: broken.Encoder", "other", "broken.py, line 1: "),
        (
            "other.yaml",
            "_target_: my_encoder.MyEncoder\ndimm: 3",
            "other",
            "model.encoder.dimm=3: MyEncoder has no such option; did you mean 'dim'?",
        ),
    ],
    ids=["shadow", "yml", "group", "yaml", "class", "module", "syntax", "option"],
)
def test_a_mistake_in_an_own_file_is_one_sentence(project, capsys, name, text, choice, sentence):
    (project / "broken.py").write_text("class Encoder(\n")
    size = "" if "[" in text else "\nimage_size: 64\n"
    own_file(project, f"model/encoder/{name}", text + size)
    shown = mistake("--config-dir", "conf", f"model/encoder={choice}", capsys=capsys)
    assert sentence in shown


def test_the_folder_of_a_package_is_found_by_the_name_of_the_package(tmp_path, monkeypatch):
    package = tmp_path / "their_package"
    (package / "conf/model/encoder").mkdir(parents=True)
    for folder in (package, package / "conf"):
        (folder / "__init__.py").touch()
    (package / "conf/model/encoder/theirs.yaml").write_text("_target_: their_package.Encoder\n")
    monkeypatch.syspath_prepend(tmp_path)
    folders, rest = split_arguments(["hydra.searchpath=[pkg://their_package.conf]", "seed=2"])
    assert (folders, rest) == ([str(package / "conf")], ["seed=2"])
    assert project_root(package / "conf") == tmp_path
    with added(folders):
        assert compose(["model/encoder=theirs"]).model.encoder._target_ == "their_package.Encoder"
    sys.modules.pop("their_package.conf", None)
    sys.modules.pop("their_package", None)


def test_a_module_of_a_project_hides_no_other(project):
    (project / "json.py").write_text("raise AssertionError\n")
    before = list(sys.path)
    with added(["conf"]):
        assert sys.path == [*before, str(project)]
    assert sys.path == before


def with_quick_settings(line: str) -> list[str]:
    """Return a command of the page, made small."""
    words = shlex.split(line)
    if words[1] == "train":
        set_by_page = {word.partition("=")[0] for word in words}
        small = [one for one in QUICK if one.partition("=")[0] not in set_by_page]
        epochs = [one.replace("trainer.max_epochs=8", "trainer.max_epochs=3") for one in words]
        return [*epochs, *small]
    if words[1] == "evaluate":  # what follows --trust is trusted
        words.insert(3, "trainer.accelerator=cpu")
    return words


def run_page(project: Path, program: list[str], environment: dict[str, str]) -> None:
    """Run the commands of the page, then its Python, in processes of their own."""
    for line in COMMANDS:
        done = subprocess.run(
            [*program, *with_quick_settings(line)[1:]],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert {path.name for path in (project / "sweep").glob("*/results.json")} == {"results.json"}
    assert len(list((project / "sweep").glob("*/results.json"))) == 2
    script = IN_PYTHON[0].replace('["model/encoder=mine"]', str(["model/encoder=mine", *QUICK]))
    (project / "study.py").write_text(script)
    python = [program[0] if len(program) > 1 else str(Path(program[0]).with_name("python"))]
    subprocess.run([*python, "study.py"], cwd=project, env=environment, check=True)


@pytest.mark.slow
def test_every_command_of_the_page_runs_in_processes(project):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    run_page(project, [sys.executable, "-m", "captionlab.cli.main"], environment)


@pytest.mark.slow
def test_every_command_of_the_page_runs_with_an_installed_wheel(project, tmp_path):
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv = tmp_path / "venv"
    # of pip's work only this is needed: the libraries are those of this environment
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    # addsitedir comes after what stands here, so that the wheel's captionlab is found first
    (site / "libraries.pth").write_text("\n".join(libraries))
    program = venv / "bin/captionlab"
    program.write_text(f"#!{venv}/bin/python\nfrom captionlab.cli.main import main\nmain()\n")
    program.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    where = [str(venv / "bin/python"), "-c", "import captionlab; print(captionlab.__file__)"]
    shown = subprocess.run(where, env=environment, cwd=project, capture_output=True, text=True)
    assert Path(shown.stdout.strip()).is_relative_to(site)
    run_page(project, [str(program)], environment)
