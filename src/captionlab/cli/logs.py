"""Where messages go: plain lines on the terminal, dated lines in train.log."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TextIO

from captionlab.core.errors import Notice

FILE_ONLY = "captionlab.shown"  # what the terminal got in another way, for train.log alone
LIBRARIES = "captionlab.libraries"  # warnings of other packages
LIGHTNING = ("pytorch_lightning", "lightning_fabric", "lightning")


class Terminal(logging.StreamHandler[TextIO]):
    """Writes to what is stdout at the time: a progress bar puts itself in its place."""

    @property
    def stream(self) -> TextIO:
        """Return the present stdout."""
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass  # the base class sets it once, which is what this class is there to avoid


def quiet_lightning() -> None:
    """Let captionlab's own messages through and Lightning's chatter not."""
    for name in LIGHTNING:
        logging.getLogger(name).setLevel(logging.WARNING)
    # advice about loading processes (decided by the data module) and one deprecation of its own
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    warnings.filterwarnings("ignore", message=".*number of training batches.*log_every_n_steps.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*mid-epoch.*")
    root = logging.getLogger("captionlab")
    first = int(os.environ.get("LOCAL_RANK", "0")) == 0
    root.setLevel(logging.INFO if first else logging.ERROR)
    root.propagate = False
    terminal = Terminal()
    terminal.setFormatter(logging.Formatter("%(message)s"))
    root.handlers = [terminal]
    warnings.showwarning = show_warning
    for name in (FILE_ONLY, LIBRARIES):
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Send captionlab's notices to the terminal, and what libraries warn of to train.log."""
    if issubclass(category, Notice):
        logging.getLogger("captionlab").warning("warning: %s", message)
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        logging.getLogger(LIBRARIES).warning("%s", text)


def write_log(path: Path) -> None:
    """Copy every message from now on into a file, warnings of libraries among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("captionlab", FILE_ONLY, "pytorch_lightning", "lightning_fabric", LIBRARIES):
        logger = logging.getLogger(name)
        for old in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
