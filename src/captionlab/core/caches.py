"""Where what can be made again is kept between runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "CAPTIONLAB_CACHE"


def cache_folder() -> Path:
    """Return captionlab's cache folder: ``$CAPTIONLAB_CACHE``, or one below the user's own.

    It need not be there yet.
    """
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else _user_caches() / "captionlab"


def _user_caches() -> Path:
    """Return the folder where this platform's programs keep caches of the user."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path.home() / ".cache"
