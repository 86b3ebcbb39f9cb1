"""Low-rank adapters on a language model's layers, by peft.

Legend: H the language model's width, r the adapters' rank.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from torch import nn

from captionlab.core.errors import UserError, did_you_mean, first_line
from captionlab.models.decoders.language_model.library import KEY

Lora = dict[str, object]
OPTIONS = ("rank", "alpha", "dropout", "target_modules")


def add_lora(body: nn.Module, head: nn.Module, options: Mapping[str, object], width: int) -> None:
    """Put adapters beside linear layers of a language model: W x + (alpha / r) B A x, with B 0 at first.

    Hu et al. 2022 (LoRA), equation 3. The layers' weights do not learn; the adapters do.

    Args:
        body: the language model without its head, whose layers are replaced in place.
        head: what scores words; it gets no adapter.
        options: ``rank`` r, ``alpha`` (16), ``dropout`` (0) before A, ``target_modules``, the ends
            of layers' names; None: those that peft names for the architecture.
        width: H, above which a rank is none.

    Raises:
        UserError: for options that do not fit, and where peft is missing.
    """
    chosen = _checked(options, width)
    peft = _peft()
    config = peft.LoraConfig(
        r=chosen["rank"],
        lora_alpha=chosen["alpha"],
        lora_dropout=chosen["dropout"],
        target_modules=chosen["target_modules"],
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it corrects the orientation of GPT-2's weights itself
            peft.inject_adapter_in_model(config, body)
    except (ValueError, TypeError) as error:
        reason = first_line(error)
        if chosen["target_modules"] is None:
            reason = "peft knows none that are usual for it"
        raise UserError(
            f"{KEY}.lora.target_modules={chosen['target_modules']} fits no layer of "
            f"{type(body).__name__} ({reason}): choose of [{', '.join(_linear_names(body))}]"
        ) from error
    for name, layer in adapted(body):
        base = layer.get_base_layer()
        if isinstance(base, nn.Embedding) or base.weight is getattr(head, "weight", None):
            raise UserError(
                f"{KEY}.lora.target_modules names {name}, whose weights may also score the words: "
                "an adapter there could not be merged; choose layers of attention or feed-forward"
            )


def adapted(body: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the layers that have adapters, by name."""
    layer_class = _peft().tuners.lora.LoraLayer
    for name, module in body.named_modules():
        if isinstance(module, layer_class):
            yield name, module


def adapters(body: nn.Module) -> Iterator[nn.Module]:
    """Yield what learns of each adapted layer, and what drops out before it."""
    for _, layer in adapted(body):
        yield from (layer.lora_A, layer.lora_B, layer.lora_dropout)


def _linear_names(body: nn.Module) -> list[str]:
    """Return the ends of the names of layers that multiply by a matrix."""
    parts = body.named_modules()
    has_matrix = (
        name
        for name, part in parts
        if not isinstance(part, nn.Embedding)
        and getattr(getattr(part, "weight", None), "ndim", 0) == 2
    )
    return sorted({name.rpartition(".")[2] for name in has_matrix})


def merge(body: nn.Module) -> None:
    """Add each adapter's product to its layer's weights, and put the layer back in its place."""
    for name, layer in list(adapted(body)):
        layer.merge()
        parent, _, own = name.rpartition(".")
        setattr(body.get_submodule(parent), own, layer.get_base_layer())


def _peft() -> ModuleType:
    try:
        import peft
    except ImportError as error:
        raise UserError(f"{KEY}.lora needs peft: pip install 'captionlab[lora]'") from error
    module: ModuleType = peft
    return module


def _checked(options: Mapping[str, object], width: int) -> dict[str, Any]:
    for name in options:
        if name not in OPTIONS:
            raise UserError(f"{KEY}.lora.{name}: {did_you_mean(str(name), OPTIONS)}")
    chosen: dict[str, Any] = {"alpha": 16, "dropout": 0.0, "target_modules": None, **options}
    rank, alpha, dropout = chosen.get("rank"), chosen["alpha"], chosen["dropout"]
    if type(rank) is not int or not 1 <= rank <= width:
        raise UserError(
            f"{KEY}.lora.rank={rank!r:.40} must be a whole number from 1 to the language model's "
            f"width {width}"
        )
    if not _is_number(alpha) or not 0 < alpha < float("inf"):
        raise UserError(f"{KEY}.lora.alpha={alpha!r:.40} must be a number above 0")
    if not _is_number(dropout) or not 0 <= dropout < 1:
        raise UserError(f"{KEY}.lora.dropout={dropout!r:.40} must lie in [0, 1)")
    names = chosen["target_modules"]
    if names is not None and not (
        # a text would be a regular expression to peft
        isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    ):
        raise UserError(
            f"{KEY}.lora.target_modules={names!r:.60} must be a list of names, such as [c_attn], or null"
        )
    return chosen


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
