"""Whole captioners of Hugging Face in two halves: what sees, once an image, and what writes.

Legend: B images, N tokens of an image, C width of the vision network, D width that the text side
reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError, first_line
from captionlab.core.hugging_face import entries_of, load_config, pretrained, transformers

NAME = "Salesforce/blip-image-captioning-base"


class VisionSide(nn.Module):
    """A vision network, and what brings its tokens to the text side's width."""

    def __init__(self, network: Any, projection: nn.Module | None) -> None:
        super().__init__()
        self.network = network
        self.projection = projection

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return tokens (B, N, D) of normalized images (B, 3, h, w)."""
        tokens: Tensor = self.network(pixel_values=pixel_values).last_hidden_state
        return tokens if self.projection is None else self.projection(tokens)


@dataclass(frozen=True)
class Family:
    """How the halves of one kind of captioner are taken from a whole one, or built bare.

    ``text_entries`` is where the entries of the text side stand in a configuration (None: at the
    top); ``attends`` says whether words attend to the image in layers of their own, or stand behind
    it in one sequence. ``text_inputs`` is the name under which the whole takes words, ``options``
    what its text side must be told.
    """

    text_entries: str | None
    attends: bool
    text_inputs: str
    options: Mapping[str, object]
    vision_of: Callable[[Any], VisionSide]
    text_of: Callable[[Any], Any]
    bare_vision: Callable[[Any], VisionSide]
    bare_text: Callable[[Any], Any]
    memory_dim: Callable[[Any], int]

    def text_config(self, config: Any) -> Any:
        """Return the configuration of the text side."""
        return config if self.text_entries is None else getattr(config, self.text_entries)


def captioner_config(
    who: str, name: str, architecture: Mapping[str, object] | None
) -> tuple[Any, Family]:
    """Return the configuration of a captioner, by entries or by name, and the family it is of.

    Raises:
        UserError: if it cannot be had, or is no captioner of a known family.
    """
    config: Any = load_config(who, name, architecture)
    return config, _family(who, name, config.model_type)


def whole_captioner(who: str, name: str) -> tuple[Any, Family]:
    """Return a captioner with its weights, and the family it is of.

    Raises:
        UserError: if it cannot be had, or is no captioner of a known family.
    """
    config, family = captioner_config(who, name, None)
    classes = transformers(who)
    factory = {"blip": "BlipForConditionalGeneration", "git": "GitForCausalLM"}
    chosen = factory.get(config.model_type, "VisionEncoderDecoderModel")
    return pretrained(who, getattr(classes, chosen), name).eval(), family


@torch.no_grad()
def trial_of(who: str, whole: Any, family: Family, begin: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return slots (1, N, D) of a gray image, ids (1, 4), and the library's own scores (1, 4, V).

    Raises UserError where the captioner cannot be run.
    """
    side = family.vision_of(whole)
    size = getattr(side.network.config, "image_size", 224)
    height, width = size if isinstance(size, list | tuple) else (size, size)
    pixels = torch.zeros(1, 3, height, width)
    ids = torch.tensor([[begin, 0, 1, 2]])
    try:
        scores = whole(pixel_values=pixels, **{family.text_inputs: ids}).logits
        return side(pixels), ids, scores[:, -ids.shape[1] :]
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise UserError(
            f"{who}.name: {type(whole).__name__} cannot be run on an image of {height} x {width}: "
            f"{first_line(error)}"
        ) from error


def bare_half(who: str, build: Callable[[Any], Any], config: Any) -> Any:
    """Return one half of a configuration with random weights; UserError if it is none."""
    try:
        return build(config)
    except (ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
        raise UserError(
            f"{who}.architecture is no captioner that can be built: {first_line(error)}"
        ) from error


def with_vocabulary(family: Family, entries: dict[str, Any], words: int) -> dict[str, Any]:
    """Return a configuration's entries with a table of so many words, where they name no size.

    Behind the words stand a beginning and an end of its own.
    """
    key = family.text_entries
    text = entries if key is None else dict(entries.get(key) or {})
    if "vocab_size" in text:
        return entries
    sizes = {"vocab_size": words + 2, "bos_token_id": words}
    sizes |= {"eos_token_id": words + 1, "sep_token_id": words + 1}
    return entries | sizes if key is None else entries | {key: text | sizes}


def family_of(who: str, entries: Mapping[str, object]) -> Family:
    """Return the family of a configuration's entries; UserError for none that is known."""
    return _family(who, "", str(entries.get("model_type")))


def _family(who: str, name: str, kind: str) -> Family:
    if kind in FAMILIES:
        return FAMILIES[kind]
    what = f"{who}.name={name}" if name else f"{who}.architecture"
    raise UserError(
        f"{what} is a {kind}, of which vision and text are not known apart; captioners of these "
        f"kinds are: {', '.join(FAMILIES)}; a language model alone is model=gpt2 or model=prefix"
    )


def _pair_vision(model: Any) -> VisionSide:
    return VisionSide(model.encoder, getattr(model, "enc_to_dec_proj", None))


def _pair_bare_vision(config: Any) -> VisionSide:
    network = transformers("model.encoder").AutoModel.from_config(config.encoder)
    seen, read = config.encoder.hidden_size, config.decoder.hidden_size
    own_width = getattr(config.decoder, "cross_attention_hidden_size", None)
    projected = own_width is None and seen != read
    return VisionSide(network, nn.Linear(seen, read) if projected else None)


def _pair_bare_text(config: Any) -> Any:
    # what stands alone in a library's text configuration is no decoder yet
    config.decoder.is_decoder = config.decoder.add_cross_attention = True
    return transformers("model.decoder").AutoModelForCausalLM.from_config(config.decoder)


def _pair_dim(config: Any) -> int:
    own_width = getattr(config.decoder, "cross_attention_hidden_size", None)
    return int(config.decoder.hidden_size if own_width is None else config.encoder.hidden_size)


def _blip_bare_vision(config: Any) -> VisionSide:
    return VisionSide(transformers("model.encoder").BlipVisionModel(config.vision_config), None)


def _blip_bare_text(config: Any) -> Any:
    return _blip_text(transformers("model.decoder").BlipTextLMHeadModel(config.text_config))


def _blip_text(model: Any) -> Any:
    """Return a BLIP's text side that reads the mask of its slots."""
    for layer in model.base_model.encoder.layer:
        layer.crossattention.self.register_forward_pre_hook(_hand_mask_on, with_kwargs=True)
    return model


def _hand_mask_on(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    # transformers 5.24 hands the slots' mask over as that of the words, which is not read here
    given = named.get("encoder_attention_mask")
    mask = named.get("attention_mask") if given is None else given
    return inputs, {**named, "encoder_attention_mask": mask}


def _git_vision(model: Any) -> VisionSide:
    return VisionSide(model.git.image_encoder, model.git.visual_projection.visual_projection)


def _git_bare_vision(config: Any) -> VisionSide:
    library = transformers("model.encoder")
    vision = config.vision_config
    norm = nn.LayerNorm(config.hidden_size, eps=vision.layer_norm_eps)
    projection = nn.Sequential(nn.Linear(vision.hidden_size, config.hidden_size), norm)
    return VisionSide(library.GitVisionModel(vision), projection)


def _git_text(model: Any) -> Any:
    model.git.image_encoder = model.git.visual_projection = None
    return model


def _git_bare_text(config: Any) -> Any:
    library = transformers("model.decoder")
    small = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    # its own vision network would be built with it, only to be left out
    vision = {**small, "num_hidden_layers": 1, "image_size": 16, "patch_size": 16}
    entries = {**entries_of(config), "vision_config": vision}
    return _git_text(library.GitForCausalLM(library.AutoConfig.for_model(**entries)))


FAMILIES: Mapping[str, Family] = {
    "vision-encoder-decoder": Family(
        text_entries="decoder",
        attends=True,
        text_inputs="decoder_input_ids",
        options={},
        vision_of=_pair_vision,
        text_of=lambda model: model.decoder,
        bare_vision=_pair_bare_vision,
        bare_text=_pair_bare_text,
        memory_dim=_pair_dim,
    ),
    "blip": Family(
        text_entries="text_config",
        attends=True,
        text_inputs="input_ids",
        options={"is_decoder": True},
        vision_of=lambda model: VisionSide(model.vision_model, None),
        text_of=lambda model: _blip_text(model.text_decoder),
        bare_vision=_blip_bare_vision,
        bare_text=_blip_bare_text,
        memory_dim=lambda config: int(config.text_config.encoder_hidden_size),
    ),
    "git": Family(
        text_entries=None,
        attends=False,
        text_inputs="input_ids",
        options={},
        vision_of=_git_vision,
        text_of=_git_text,
        bare_vision=_git_bare_vision,
        bare_text=_git_bare_text,
        memory_dim=lambda config: int(config.hidden_size),
    ),
}
