"""What is built from a checkout: the whole package, its configuration, and nothing private."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def build(*options: str, into: Path) -> None:
    # without isolation: an isolated build asks a package index for hatchling
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(into)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}


def is_leftover(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


@pytest.fixture(scope="module")
def sdist_and_wheel(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built out of it."""
    folder = tmp_path_factory.mktemp("from_sdist")
    build(into=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.mark.parametrize(
    ("source", "place"), [("src/captionlab", "captionlab"), ("conf", "captionlab/conf")]
)
def test_the_wheel_holds_every_file(sdist_and_wheel, source, place):
    packed = contents(sdist_and_wheel[1])
    sources = {
        path.relative_to(ROOT / source): path.read_bytes()
        for path in (ROOT / source).rglob("*")
        if path.is_file() and not is_leftover(path.relative_to(ROOT))
    }
    assert sources
    for name, content in sources.items():
        assert packed[f"{place}/{name.as_posix()}"] == content


def test_the_wheel_holds_nothing_else(sdist_and_wheel):
    names = contents(sdist_and_wheel[1])
    tops = {name.split("/")[0] for name in names}
    (metadata,) = tops - {"captionlab", "hydra_plugins"}
    # the package of Hydra's plugins belongs to nobody: one with an __init__ would hide all others
    plugins = {name.split("/")[1] for name in names if name.startswith("hydra_plugins/")}
    assert plugins == {"captionlab_launcher"}
    assert metadata.startswith("captionlab-")
    assert metadata.endswith(".dist-info")


def test_the_wheel_composes_its_own_configuration_anywhere(sdist_and_wheel, tmp_path):
    with zipfile.ZipFile(sdist_and_wheel[1]) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "from captionlab.config.compose import compose, config_dir; compose(); print(config_dir())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == tmp_path / "site/captionlab/conf"


def test_checkout_and_sdist_build_the_same_wheel(sdist_and_wheel, tmp_path):
    build("--wheel", into=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert contents(wheel) == contents(sdist_and_wheel[1])


def test_the_sdist_leaves_runs_and_environments_out(sdist_and_wheel):
    with tarfile.open(sdist_and_wheel[0]) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    assert {"src", "conf", "tests", "train.py", "LICENSE", "README.md", "pyproject.toml"} <= tops
    assert not tops & {"runs", "multirun", "outputs", ".venv", ".git", "wandb", "experiments"}
