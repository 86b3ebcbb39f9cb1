"""Hugging Face's causal language models: had by name or built bare, and what a decoder asks of them."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import nn

from captionlab.core.errors import UserError, first_line
from captionlab.core.hugging_face import entries_of, load_config, pretrained, transformers
from captionlab.core.special_tokens import SpecialTokens

KEY = "model.decoder"
# these stand before the language model's own ids
NUM_SPECIAL = SpecialTokens.COUNT


def causal_model(
    name: str,
    weights: str | None,
    architecture: dict[str, object] | None,
    vocabulary_size: int,
) -> Any:
    """Return a language model by its name, or a bare one of an architecture, or of GPT-2's sizes.

    Raises:
        UserError: if it cannot be had, or is no causal language model.
    """
    factory = transformers(KEY).AutoModelForCausalLM
    if weights is not None:
        more = {} if architecture is None else {"config": load_config(KEY, name, architecture)}
        return pretrained(KEY, factory, name, **more)
    if architecture is None:
        entries = entries_of(load_config(KEY, name, None))
        del entries["vocab_size"]
    else:
        entries = dict(architecture)
    if "vocab_size" not in entries:
        # behind the words a beginning and an end of its own
        words = vocabulary_size - NUM_SPECIAL
        entries |= {"vocab_size": words + 2, "bos_token_id": words, "eos_token_id": words + 1}
    try:
        model = factory.from_config(load_config(KEY, name, entries))
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = first_line(error)
        raise UserError(
            f"{KEY}.architecture={architecture} is no causal language model: {reason}"
        ) from error
    return model


def edge_id(first: int | list[int] | None, second: int | list[int] | None) -> int:
    """Return the id of a beginning or an end: ``first`` where there is one, else ``second``.

    Raises:
        UserError: where a model has neither.
    """
    for value in (first, second):
        number = value[0] if isinstance(value, list | tuple) else value
        if number is not None:
            return int(number)
    raise UserError(
        f"{KEY}: the language model names neither bos_token_id nor eos_token_id: captions could "
        "not end; add them to its config.json or to model.decoder.architecture"
    )


def cache_name(body: nn.Module) -> str:
    """Return the name under which a model takes its cache: another one since transformers 5.2x."""
    taken = signature(body.forward).parameters
    if not {"cache", "past_key_values"} & set(taken):  # a wrapper that hands on what it is given
        taken = signature(next(body.children()).forward).parameters
    return "cache" if "cache" in taken else "past_key_values"


def require_caching(model: Any, name: str) -> None:
    """Refuse a model that keeps a state in place of the keys and values of its words."""
    if getattr(model, "_is_stateful", False):
        raise UserError(
            f"{KEY}.name={name}: {type(model).__name__} keeps no keys and values of its words, "
            "by which beams are told apart; choose another language model, such as gpt2"
        )


def require_words(name: str, weights: str | None, vocabulary_size: int, rows: int) -> None:
    """Raise UserError unless the tokenizer's ids fit the language model's ``rows`` of words."""
    words = vocabulary_size - NUM_SPECIAL
    # some models pad their table to a round number of rows
    if words > rows or (weights is not None and rows - words > max(1024, rows // 50)):
        raise UserError(
            f"{KEY}.name={name} has words for {rows:,} ids and the tokenizer writes {words:,}: "
            "say data/tokenizer=pretrained, or model.decoder.weights=null with an architecture"
        )


def require_plain_head(model: Any, name: str) -> None:
    """Refuse a model whose whole does more than embed, body and head do one after the other."""
    ids = torch.arange(5).unsqueeze(0)
    model.eval()
    with torch.no_grad():
        theirs = model(ids).logits
        body = model.base_model(inputs_embeds=model.get_input_embeddings()(ids), use_cache=False)
        ours = model.get_output_embeddings()(body.last_hidden_state)
    if not torch.allclose(theirs, ours, atol=1e-3, rtol=1e-3):
        raise UserError(
            f"{KEY}.name={name}: {type(model).__name__} changes its scores after its head, which "
            "this decoder does not follow; choose another language model, such as gpt2"
        )


def layers_of(body: nn.Module, count: int) -> nn.ModuleList:
    """Return the list of a language model's ``count`` layers; UserError where it has none."""
    for module in body.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise UserError(f"{KEY}: {type(body).__name__} has no list of {count} layers to look from")


def fuse_activations(module: nn.Module) -> None:
    """Let GPT-2's GELU, which the library computes in eight operations, be torch's one: the same formula."""
    from transformers.activations import NewGELUActivation

    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(parent, name, nn.GELU(approximate="tanh"))


def choose_trainable(model: nn.Module, layers: nn.ModuleList, trainable: int | str) -> None:
    """Let none, all, or so many last layers learn; UserError for another word or number."""
    count = len(layers)
    if isinstance(trainable, str):
        if trainable not in ("none", "all"):
            raise UserError(f"{KEY}.trainable={trainable!r} must be none, all, or a number")
    elif not 0 <= trainable <= count:
        raise UserError(f"{KEY}.trainable={trainable} must be 0 to {count}, the model's layers")
    model.requires_grad_(trainable == "all")
    if isinstance(trainable, int) and trainable:
        for layer in layers[-trainable:]:
            layer.requires_grad_(True)
