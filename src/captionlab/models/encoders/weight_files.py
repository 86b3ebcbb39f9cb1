"""Files of weights as they are published, fitted to a network: one place for every encoder.

A published file may be wrapped (``{"state_dict": ...}``), hold the network below another name
(``module.``, ``backbone.``), bring the classifier along, or be in half precision. What is certain to
be meant is taken, and said: where every tensor of the network is there, in its shape, under one
prefix. Anything else is refused, with the network that the file seems to be of.
"""

from __future__ import annotations

import difflib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.tensor_files import dense, load_tensors

log = logging.getLogger("captionlab")

KEY = "model.encoder.weights"  # the setting that names a file

# entries below which training scripts keep the network
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights")
# under which they keep it in a state dict: what else stands there may be another network
PREFIXES = frozenset(
    {"module", "model", "backbone", "encoder", "trunk", "visual", "vision_model", "captioner"}
    | {"encoder_q", "encoder_k", "base_encoder", "momentum_encoder", "image_encoder", "img_encoder"}
    | {"student", "teacher", "feature_extractor", "base_model"}
)
# what a network for another task has beside its features, by the first part of a name
HEADS = re.compile(
    r"(fc|heads?|classifier|last_linear|head_dist|logits|aux\w*|AuxLogits|proj|projection_head|"
    r"predictor|lm_head|text_model|text_projection|visual_projection|logit_scale|decoder|"
    r"mask_token|pooler|norm_head|output|criterion|queue\w*|prototypes|global_pool)"
)
_OLD_DENSE_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
_COUNT = "num_batches_tracked"  # which files older than PyTorch 0.4.1 lack, and nothing here reads
# how long, and among how many, the network that a file is of is looked for
_SECONDS, _MOST, _FEWEST_TENSORS = 4.0, 20, 8
Candidate = tuple[str, Callable[[], nn.Module]]


@dataclass(frozen=True)
class Fit:
    """How far a file's entries below ``prefix`` are a network's tensors."""

    prefix: str
    missing: list[str]
    shapes: list[str]
    surplus: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether they are this network's and no other's."""
        return not (self.missing or self.shapes or self.surplus)

    def mistakes(self) -> list[str]:
        """Return what does not fit, shapes first, in words."""
        return [
            *self.shapes,
            *(f"{key} is missing" for key in self.missing),
            *(f"{key} has no place" for key in self.surplus),
        ]


def load_weights_file(
    network: nn.Module,
    path: Path,
    *,
    key: str,
    kind: str,
    candidates: Sequence[Candidate] = (),
    prefixes: Iterable[str] = (),
) -> None:
    """Load a file of weights into a network.

    Args:
        network: of which every tensor must be in the file, but counts of batches.
        key: the setting that names the file, for messages. kind: what the network is called.
        candidates: names of other networks, and how each is built, to compare the file with where
            it does not fit.
        prefixes: names beside ``PREFIXES`` below which a file may keep the network.

    Raises:
        UserError: if the file cannot be read, or is not certain to be of this network.
    """
    state = read_weights_file(path, key)
    own: dict[str, Tensor] = network.state_dict()
    known = {*PREFIXES, *prefixes}
    below = [p for p in _prefixes(own, state) if known.issuperset(p.split(".")[:-1])]
    fits = [fit_below(prefix, own, state) for prefix in below]
    whole = [fit for fit in fits if fit.is_whole]
    chosen = next((fit for fit in whole if not fit.prefix), whole[0] if whole else None)
    if chosen is None:
        nearest = min(fits, key=lambda fit: len(fit.missing) + len(fit.shapes) + len(fit.surplus))
        raise UserError(_refusal(nearest, state, path, key, kind, candidates))
    if chosen.prefix and len(whole) > 1:
        names = " and ".join(repr(fit.prefix) for fit in whole[:3])
        raise UserError(
            f"{key}={path} holds several networks that fit, below {names}: keep one of them in the file"
        )
    taken = {name: state[chosen.prefix + name] for name in own if chosen.prefix + name in state}
    _require_numbers(taken, path, key)
    network.load_state_dict(taken, strict=False)
    _log_adjustments(chosen, len(state) - len(taken), own, taken, path)


def read_weights_file(path: Path, key: str) -> dict[str, Tensor]:
    """Return the tensors of a file by name: safetensors, or what torch saved, without its wrapping.

    Raises:
        UserError: if it is no such file, holds anything but dense tensors, or claims more of them
            than there are.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise UserError(f"{key}={path}: {what}")
    content = load_tensors(path, f"{key}={path}")
    while (inner := _unwrapped(content)) is not None:
        content = inner
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise UserError(f"{key}={path} holds a {kind}, not a state dict of weights")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{key}={path} holds no tensor: it is no file of PyTorch weights")
    weights = dense(tensors, "", f"{key}={path}")
    return {_OLD_DENSE_KEY.sub(r"\1\2", name): tensor for name, tensor in weights.items()}


def _unwrapped(content: object) -> Mapping[object, object] | None:
    """Return what a training script wrapped, None where nothing is wrapped."""
    for name in WRAPPERS:
        inner = content.get(name) if isinstance(content, Mapping) else None
        if isinstance(inner, Mapping) and inner:
            return inner
    return None


def _prefixes(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Return what may stand before the network's names in a file, nothing first."""
    # the longest name is the least likely to end another one
    longest = max((name for name in own if not name.endswith(_COUNT)), key=len)
    prefixes = {name.removesuffix(longest) for name in state if name.endswith(f".{longest}")}
    return ["", *sorted(prefixes)]


def fit_below(prefix: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Fit:
    """Return how the entries of ``state`` below ``prefix`` fit a network's tensors."""
    shapes = [
        f"{name} is {tuple(state[prefix + name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if prefix + name in state and state[prefix + name].shape != tensor.shape
    ]
    missing = [name for name in own if prefix + name not in state and not name.endswith(_COUNT)]
    # more of the same parts: another network, of which this one would be a piece
    parts = {name.partition(".")[0] for name in own}
    inside = (name.removeprefix(prefix) for name in state if name.startswith(prefix))
    surplus = [
        name
        for name in inside
        if name not in own and name.partition(".")[0] in parts and not HEADS.match(name)
    ]
    return Fit(prefix, missing, shapes, surplus)


def _require_numbers(taken: Mapping[str, Tensor], path: Path, key: str) -> None:
    for name, tensor in taken.items():
        if name.endswith(_COUNT):
            continue
        if not tensor.is_floating_point():
            raise UserError(f"{key}={path}: {name} is {tensor.dtype}, and floats belong there")
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{key}={path}: {name} holds values that are no finite numbers")


def _log_adjustments(
    fit: Fit, left: int, own: Mapping[str, Tensor], taken: Mapping[str, Tensor], path: Path
) -> None:
    notes = [f"names without {fit.prefix!r}"] if fit.prefix else []
    if left:
        notes.append(f"{left} entries beside the network left out, such as a classifier's")
    kinds = {t.dtype for n, t in taken.items() if not n.endswith(_COUNT)}
    own_kinds = {t.dtype for n, t in own.items() if not n.endswith(_COUNT)}
    if kinds != own_kinds:
        notes.append(f"converted from {', '.join(sorted(map(str, kinds)))}")
    if notes:
        log.info("weights    %s: %s", path, "; ".join(notes))


def _refusal(
    fit: Fit,
    state: Mapping[str, Tensor],
    path: Path,
    key: str,
    kind: str,
    candidates: Sequence[Candidate],
) -> str:
    mistakes = fit.mistakes()
    more = f" and {len(mistakes) - 3} more" if len(mistakes) > 3 else ""
    network = nearest_network(state, path, candidates)
    hint = f" (it is of {network})" if network and network != kind else ""
    return f"{key}={path} do not fit {kind}{hint}: {'; '.join(mistakes[:3])}{more}"


def nearest_network(
    state: Mapping[str, Tensor], path: Path, candidates: Sequence[Candidate]
) -> str | None:
    """Return the first of the candidates that a file fits whole, likely names first, if any."""
    if len(state) < _FEWEST_TENSORS:
        return None
    stop = time.monotonic() + _SECONDS
    for name, build in islice(_likely_first(path.name, candidates), _MOST):
        if time.monotonic() > stop:
            break
        try:
            with torch.device("meta"):
                own = build().state_dict()
        except (RuntimeError, ValueError, TypeError, UserError):
            continue  # some cannot be built without options, or on no device
        if any(fit_below(prefix, own, state).is_whole for prefix in _prefixes(own, state)):
            return name
    return None


def _likely_first(file: str, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    def likeness(candidate: Candidate) -> tuple[bool, float]:
        name = candidate[0]
        return name in file, difflib.SequenceMatcher(None, name, file).ratio()

    yield from sorted(candidates, key=likeness, reverse=True)
