"""Finding a backbone's pretrained weights, and loading them into it."""

from __future__ import annotations

import pickle
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision import models

from captionlab.errors import UserError, did_you_mean

_SECONDS_TO_ANSWER = 10.0
# torchvision's DenseNet files are older than the rule that a module's name has no dot
_OLD_DENSE_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")

# where a captionlab checkpoint holds an encoder
_ENCODER = "captioner.encoder."


def load_pretrained(trunk: nn.Module, name: str, weights: str) -> None:
    """Load ``weights``, a torchvision name or a local file, into the trunk of backbone ``name``.

    A local file holds a state dict, bare or under ``model`` or ``state_dict``, or is a captionlab
    checkpoint with such an encoder; the classifier's entries are ignored. Raises UserError for an
    unknown name, a missing or unreadable file, weights that cannot be downloaded, and entries that
    are missing or have another shape.
    """
    entries = models.get_model_weights(name).__members__
    hint = ""
    if weights in entries:
        path = _torchvision_file(name, weights, entries[weights].url)
        hint = f" (they were trained at image_size={entries[weights].transforms().crop_size[0]})"
    else:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise UserError(
                f"model.encoder.weights={weights} is neither a file nor a name of torchvision's "
                f"weights for {name}: {did_you_mean(weights, entries)}"
            )
    state = _read(path)
    _load(
        trunk,
        _below(f"{_ENCODER}trunk.", state) or state,
        f"the weights in {path} do not fit {name}",
        hint,
    )


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


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a file of PyTorch weights: {reason}") from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not a state dict of weights")
    return {_OLD_DENSE_KEY.sub(r"\1\2", str(key)): value for key, value in content.items()}


def _load(trunk: nn.Module, state: dict[str, Tensor], complaint: str, hint: str) -> None:
    own = trunk.state_dict()
    wrong = [
        f"{key} is {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    # files older than PyTorch 0.4.1 count no batches; nothing here reads the count
    wrong += [
        f"{key} is missing"
        for key in own
        if key not in state and not key.endswith("num_batches_tracked")
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(f"{complaint}{hint}: {'; '.join(wrong[:3])}{more}")
    trunk.load_state_dict({key: state[key] for key in own if key in state}, strict=False)


def load_own_weights(encoder: nn.Module, path: str) -> None:
    """Load a captionlab checkpoint's encoder, or a state dict, into an encoder of the same shape.

    Raises:
        UserError: if the file cannot be read, or does not fit; the first difference is named.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"weights={path}: there is no such file") from error
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise UserError(f"weights={path} is damaged or no file of weights") from error
    if "state_dict" in stored:
        stored = _below(_ENCODER, stored["state_dict"])
    try:
        encoder.load_state_dict(stored)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise UserError(f"weights={path} are of another encoder: {reason}") from error


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
