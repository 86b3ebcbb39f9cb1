"""Who may know whom: .importlinter holds the rules, the tests run it and see that it bites."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "pytorch_lightning", "pycocoevalcap", "wandb", "matplotlib"}
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as lint; lint()"


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS, "--no-cache", "--no-logo"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_part_imports_only_what_it_may():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", result.stdout)


def test_every_rule_catches_its_offender(tmp_path):
    offenders = {
        "captionlab.text": "captionlab.metrics",
        "captionlab.metrics": "captionlab.decoding",
        "captionlab.training": "captionlab.cli",
        "captionlab.data": "captionlab.models",
        "captionlab.objectives": "captionlab.text",
        "captionlab.decoding": "omegaconf",
        "captionlab.models": "pytorch_lightning",
    }
    shutil.copy(ROOT / ".importlinter", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src")
    for importer, imported in offenders.items():
        offender = tmp_path / "src" / importer.replace(".", "/") / "offender.py"
        offender.write_text(f"import {imported}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1
    for importer, imported in offenders.items():
        assert f"{importer}.offender -> {imported} (l.1)" in result.stdout


def test_a_new_module_must_be_given_its_place(tmp_path):
    shutil.copy(ROOT / ".importlinter", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src")
    (tmp_path / "src/captionlab/newcomer.py").touch()
    result = lint_imports(tmp_path)
    assert result.returncode == 1
    assert "captionlab.newcomer" in result.stdout


@pytest.mark.parametrize("module", ["train", "captionlab", "captionlab.cli.main"])
def test_a_command_starts_without_the_heavy_libraries(module):
    code = f"import sys, {module}; print(*({HEAVY} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
