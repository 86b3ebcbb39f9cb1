"""Command lines that messages give: what a user would type here and now to go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from captionlab.config.override_syntax import WEIGHTS_OVERRIDES, override_text
from captionlab.config.search_path import as_arguments
from captionlab.core.config_types import Config
from captionlab.core.registry import unlisted


def train_command(overrides: Sequence[str]) -> str:
    """Return the command that trains with these overrides, and with the folders in use here."""
    is_script = Path(sys.argv[0]).name == "train.py"
    program = ["python", "train.py"] if is_script else ["captionlab", "train"]
    return shlex.join([*program, *as_arguments(), *overrides])


def resume_command(overrides: Sequence[str], checkpoint: Path) -> str:
    """Return the command that goes on with a run from a checkpoint of it."""
    kept = [o for o in overrides if not o.startswith(WEIGHTS_OVERRIDES)]
    return train_command([*kept, override_text("ckpt", str(checkpoint))])


def predict_command(checkpoint: Path, config: Config) -> str:
    """Return the command that captions a photo; ``config`` is what the checkpoint was trained with."""
    own = unlisted({name: config.get(name) for name in ("model", "decoding")})
    trust = f" --trust {shlex.join(own)}" if own else ""
    return f"captionlab predict {shlex.quote(str(checkpoint))} photo.jpg{trust}"
