"""Finding a torchvision backbone's pretrained weights."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import nn
from torchvision import models

from captionlab.core.errors import UserError, did_you_mean
from captionlab.models.encoders.weight_files import KEY, load_weights_file

_SECONDS_TO_ANSWER = 10.0


def load_pretrained(trunk: nn.Module, name: str, weights: str) -> None:
    """Load ``weights``, a torchvision name or a local file, into the trunk of backbone ``name``.

    Raises UserError for an unknown name, a missing or unreadable file, weights that cannot be
    downloaded, and a file that is not certain to be of this backbone (``weight_files``).
    """
    entries = models.get_model_weights(name).__members__
    kind = name
    if weights in entries:
        path = _torchvision_file(name, weights, entries[weights].url)
        size = entries[weights].transforms().crop_size[0]
        kind = f"{name} (they were trained at image_size={size})"
    else:
        path = Path(weights).expanduser()
        if not path.exists():
            raise UserError(
                f"{KEY}={weights} is neither a file nor a name of torchvision's "
                f"weights for {name}: {did_you_mean(weights, entries)}"
            )
    others = [other for other in models.list_models(module=models) if other != name]
    candidates = [(other, partial(models.get_model, other, weights=None)) for other in others]
    load_weights_file(trunk, path, key=KEY, kind=kind, candidates=candidates)


def _torchvision_file(name: str, weights: str, url: str) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlparse(url).path).name
    if path.is_file():
        return path
    # torchvision's file names end in the first digits of their SHA-256, which the download checks
    digest = re.search(r"-([a-f0-9]{8,})\.", path.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _patience(_SECONDS_TO_ANSWER):
            torch.hub.download_url_to_file(url, str(path), digest.group(1) if digest else None)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the weights {weights} of {name} are not on this machine and cannot be downloaded "
            f"({error}): put the file {path.name} from {url} into {folder}, or set "
            "model.encoder.weights=null for random weights"
        ) from error
    return path


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
