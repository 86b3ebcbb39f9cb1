"""Plain weights of a captioner: adapters added to the layers beside them.

An average of weights (``callbacks/average=ema``) needs nothing of the kind: it is what a checkpoint
holds as its captioner's weights, and the weights in training stand apart, for resuming alone.
"""

from __future__ import annotations

from captionlab.core.config_types import Config, MutableConfig
from captionlab.models.captioner import Captioner


def has_adapters(model: Config) -> bool:
    """Return whether a model's configuration puts low-rank adapters beside its layers."""
    lora = model["decoder"].get("lora")
    return isinstance(lora, dict) and lora.get("rank") is not None


def merge_adapters(captioner: Captioner, model: Config) -> MutableConfig:
    """Add a captioner's adapters to its weights, in place; return the configuration of what it is then.

    Hu et al. 2022 (LoRA), section 4.1: W + (alpha / r) B A. It scores words as before.
    """
    if not has_adapters(model):
        return dict(model)
    captioner.decoder.merge_lora()
    return {**model, "decoder": {**model["decoder"], "lora": {"rank": None}}}
