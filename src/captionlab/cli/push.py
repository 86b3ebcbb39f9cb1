"""Push: an exported folder, or a checkpoint as one, goes to Hugging Face's hub."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from captionlab.cli.export import export
from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError
from captionlab.inference.export import hub
from captionlab.inference.export.folder import is_export


def push(
    source: str,
    repository: str,
    *,
    private: bool = False,
    license: str | None = None,
    trust: Sequence[str] = (),
) -> int:
    """Send an exported folder, or a checkpoint as safetensors, to ``owner/name``; return 0.

    Args:
        source: the folder, or the checkpoint.
        repository: ``owner/name``. private: only its owner sees it.
        license: of a checkpoint's captioner, for its card; that of a folder stands in its card.
        trust: classes, or packages, that the checkpoint may name beside captionlab's own.

    Raises:
        UserError: as ``hub.push`` and ``export``, and for the license of a folder.
    """
    require_local(source)
    hub.require_repository(repository)
    if is_export(source):
        if license is not None:
            raise UserError("--license is for a checkpoint: the card of an export has its own")
        address = hub.push(Path(source), repository, private=private)
    else:
        if license is None:
            print("note: the card will state no license: --license TEXT", file=sys.stderr)
        with tempfile.TemporaryDirectory() as place:
            folder = str(Path(place, "export"))
            export(source, folder, format="safetensors", license=license, trust=trust)
            address = hub.push(Path(folder), repository, private=private)
    print(f"captionlab predict {address} PHOTO")
    return 0
