"""Command lines that messages give: what a user would type here and now to go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captionlab.config.search_path import as_arguments
from captionlab.core.registry import unlisted


def train_command(overrides: Sequence[str]) -> str:
    """Return the command that trains with these overrides, and with the folders in use here."""
    is_script = Path(sys.argv[0]).name == "train.py"
    program = ["python", "train.py"] if is_script else ["captionlab", "train"]
    return shlex.join([*program, *as_arguments(), *overrides])


def predict_command(checkpoint: Path, config: Mapping[str, Any]) -> str:
    """Return the command that captions a photo; ``config`` is what the checkpoint was trained with."""
    own = unlisted({name: config.get(name) for name in ("model", "decoding")})
    trust = f" --trust {shlex.join(own)}" if own else ""
    return f"captionlab predict {shlex.quote(str(checkpoint))} photo.jpg{trust}"
