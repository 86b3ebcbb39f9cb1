"""The decoding method of a request: what it asks for, over what the captioner was trained to write with."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from captionlab.applications.serve.http import ApiError
from captionlab.applications.serve.schemas import Wishes
from captionlab.applications.serve.settings import ServeSettings
from captionlab.decoding import Beam, Greedy, Sampling
from captionlab.decoding.captions import Decoding
from captionlab.decoding.constraints import GenerationConstraints
from captionlab.decoding.sampling import NOISE

METHODS: dict[str, type[Beam] | type[Greedy] | type[Sampling]] = {
    "greedy": Greedy,
    "beam": Beam,
    "sampling": Sampling,
}
# which wishes only one method can fulfill
OF_METHOD = {
    "beam_size": "beam",
    "forced_words": "beam",
    "temperature": "sampling",
    "top_k": "sampling",
    "top_p": "sampling",
    "seed": "sampling",
}


@dataclass(frozen=True)
class Method:
    """A decoding method that images can share: equal ones are decoded together.

    ``width``: hypotheses of an image. ``settings`` tell equal methods.
    """

    decoding: Any
    width: int
    settings: tuple[object, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Method) and self.settings == other.settings

    def __hash__(self) -> int:
        return hash(self.settings)

    @property
    def samples(self) -> int:
        """How many captions are drawn of an image, 0 where nothing is random."""
        return self.decoding.num_samples if isinstance(self.decoding, Sampling) else 0

    def noise(self, seed: int | None) -> Tensor | None:
        """Return what decides an image's draws (num_samples,max_length), whatever batch it comes in."""
        if not self.samples:
            return None
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        shape = (self.samples, self.decoding.max_length)
        return torch.randint(NOISE, shape, generator=generator)


def method_of(wishes: Wishes, default: Decoding, settings: ServeSettings) -> Method:
    """Return the decoding method that a request asks for.

    Raises:
        ApiError: for wishes that do not go together, or are more than the server gives.
        UserError: for values that the method refuses.
    """
    if wishes.num_captions > settings.max_captions:
        raise ApiError(
            400,
            f"num_captions: this server gives {settings.max_captions} captions of an image at most",
            param="num_captions",
        )
    name = wishes.decoding or _implied(wishes, default)
    for field, method in OF_METHOD.items():
        if getattr(wishes, field) not in (None, []) and method != name:
            raise ApiError(
                400, f"{field} is of decoding={method}, and this is decoding={name}", param=field
            )
    decoding = _built(name, wishes, default)
    width = width_of(decoding)
    if width > settings.max_width:
        raise ApiError(
            400,
            f"this request needs {width} hypotheses of an image (beam_size, twice as many for each "
            f"forced word), and {settings.max_width} are the most",
            param="beam_size",
        )
    return Method(decoding, width, _settings_of(decoding))


def _implied(wishes: Wishes, default: Decoding) -> str:
    for field, method in OF_METHOD.items():
        if getattr(wishes, field) not in (None, []):
            return method
    own = next((name for name, kind in METHODS.items() if type(default) is kind), "beam")
    return "beam" if own == "greedy" and wishes.num_captions > 1 else own


def _built(name: str, wishes: Wishes, default: Decoding) -> Any:
    """Return the method with the request's values over those of the captioner's own settings."""
    kind = METHODS[name]
    own = default if type(default) is kind else kind(**_limits(default))
    changes: dict[str, Any] = {}
    if wishes.max_length is not None:
        changes["max_length"] = wishes.max_length
        changes["min_length"] = min(own.min_length, wishes.max_length)
    count = wishes.num_captions
    if isinstance(own, Beam):
        size = wishes.beam_size or max(own.beam_size, count)
        groups = own.groups if size % own.groups == 0 and count % own.groups == 0 else 1
        forced = tuple(wishes.forced_words)
        changes |= {"beam_size": size, "num_captions": count, "forced_words": forced}
        changes["groups"] = 1 if forced else groups
    elif isinstance(own, Sampling):
        changes |= {"num_samples": count, "num_captions": None, "seed": None}
        for field in ("temperature", "top_k", "top_p"):
            if getattr(wishes, field) is not None:
                changes |= {field: getattr(wishes, field), "typical_p": None}
    elif count > 1:
        raise ApiError(
            400,
            "decoding=greedy gives one caption of an image: say decoding=beam for more",
            param="num_captions",
        )
    return replace(own, **changes)


def _limits(default: Decoding) -> dict[str, Any]:
    """Return the limits of captions that every method has."""
    names = [field.name for field in fields(GenerationConstraints)]
    return {name: getattr(default, name) for name in names if hasattr(default, name)}


def width_of(decoding: Decoding) -> int:
    """Return how many hypotheses of an image a method grows."""
    if isinstance(decoding, Beam):
        return decoding.beam_size * 2 ** len(decoding.forced_words)
    return decoding.num_samples if isinstance(decoding, Sampling) else 1


def _settings_of(decoding: Any) -> tuple[object, ...]:
    return (
        type(decoding).__name__,
        *(_hashable(getattr(decoding, field.name)) for field in fields(decoding)),
    )


def _hashable(value: object) -> object:
    return tuple(_hashable(item) for item in value) if isinstance(value, list | tuple) else value
