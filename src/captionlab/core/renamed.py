"""Names of earlier versions, which checkpoints and configurations of theirs still hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar, cast

Node = TypeVar("Node")

# dotted names below captionlab, of version 0.1
_TARGETS = {
    "commands.door.CheckMix": "cli.hydra_main.CheckMix",
    "data.datamodule.CaptionDataModule": "data.CaptionDataModule",
    "data.images.Augment": "data.Augment",
    "data.mixing.Extra": "data.Extra",
    "data.readers_coco.CocoOfficial": "data.readers.CocoOfficial",
    "data.readers_flickr.Flickr30kPublished": "data.readers.Flickr30kPublished",
    "data.readers_flickr.Flickr8kCN": "data.readers.Flickr8kCN",
    "data.readers_flickr.Flickr8kCaptionsTxt": "data.readers.Flickr8kCaptionsTxt",
    "data.readers_flickr.Flickr8kPublished": "data.readers.Flickr8kPublished",
    "data.readers_karpathy.Karpathy": "data.readers.Karpathy",
    "data.readers_tables.CsvCaptions": "data.readers.CsvCaptions",
    "data.readers_tables.JsonlCaptions": "data.readers.JsonlCaptions",
    "data.shapes.Shapes": "data.readers.Shapes",
    "models.attention_families.AdaptiveAttention": "models.attention.AdaptiveAttention",
    "models.attention_families.AttentionOnAttention": "models.attention.AttentionOnAttention",
    "models.attention_families.HardAttention": "models.attention.HardAttention",
    "models.attention_families.MultiHeadAttention": "models.attention.MultiHeadAttention",
    "models.captioner.Captioner": "models.Captioner",
    "models.discriminators.CNNDiscriminator": "objectives.CNNDiscriminator",
    "models.discriminators.MatchingDiscriminator": "objectives.MatchingDiscriminator",
    "models.discriminators.SetDiscriminator": "objectives.SetDiscriminator",
    "models.families.AdaptiveDecoder": "models.decoders.adaptive",
    "models.families.AoADecoder": "models.decoders.aoa",
    "models.families.Att2in": "models.decoders.att2in",
    "models.families.UpDown": "models.decoders.up_down",
    "models.hugging_face_encoder.HuggingFaceEncoder": "models.encoders.HuggingFaceEncoder",
    "models.language_model.LanguageModelDecoder": "models.decoders.LanguageModelDecoder",
    "models.latent.LatentRNNDecoder": "models.decoders.latent_decoder",
    "models.rnn_decoder.RNNDecoder": "models.decoders.rnn_decoder",
    "models.small_cnn.SmallCNN": "models.encoders.SmallCNN",
    "models.stored.StoredEncoder": "models.encoders.StoredEncoder",
    "models.tags.TagHead": "models.TagHead",
    "models.timm_encoder.TimmEncoder": "models.encoders.TimmEncoder",
    "models.transformer_decoder.TransformerDecoder": "models.decoders.TransformerDecoder",
    "objectives.Adversarial": "objectives.build_gan",
    "objectives.adversarial.Adversarial": "objectives.build_gan",
    "objectives.cross_entropy.CrossEntropy": "objectives.CrossEntropy",
    "objectives.hard_attention.HardAttentionLoss": "objectives.HardAttentionLoss",
    "objectives.rewards.Reward": "objectives.Reward",
    "objectives.scheduled_sampling.ScheduledSampling": "objectives.ScheduledSampling",
    "objectives.self_critical.SelfCritical": "objectives.SelfCritical",
    "objectives.staged.Staged": "objectives.Staged",
    "objectives.variational.Variational": "objectives.Variational",
    "text.tokenizers.CharacterTokenizer.fit": "text.CharacterTokenizer.fit",
    "text.tokenizers.PretrainedTokenizer.fit": "text.PretrainedTokenizer.fit",
    "text.tokenizers.SubwordTokenizer.fit": "text.SubwordTokenizer.fit",
    "text.tokenizers.WordTokenizer.fit": "text.WordTokenizer.fit",
    "training.dashboards.tensorboard": "training.loggers.tensorboard",
    "training.dashboards.weights_and_biases": "training.loggers.weights_and_biases",
    "training.progress.Progress": "training.callbacks.Progress",
    "training.stopping.Interrupt": "training.callbacks.Interrupt",
    "training.stopping.LastCheckpoint": "training.callbacks.LastCheckpoint",
    "training.table_logger.TableLogger": "training.loggers.TableLogger",
}


def rename_targets(node: Node) -> Node:
    """Return a configuration of any version with the classes' names of this one."""
    return cast("Node", _with_renamed(node))


def _with_renamed(node: object) -> object:
    if isinstance(node, Mapping):
        return {
            name: _renamed(child) if name == "_target_" else _with_renamed(child)
            for name, child in node.items()
        }
    return [_with_renamed(child) for child in node] if isinstance(node, list) else node


def _renamed(target: object) -> object:
    package, _, name = target.partition(".") if isinstance(target, str) else ("", "", "")
    return (
        f"captionlab.{_TARGETS[name]}" if package == "captionlab" and name in _TARGETS else target
    )


# the names of a decoder's weights in files of format 2 and before, by the class that made them
_RECURRENT = ((r"recurrence\.cell\.", "cell.bottom."), (r"recurrence\.", "cell."))
_PAPERS = (
    (r"cell\.", "cell.lstm."),
    (
        r"(attention|word|recurrent|context|image|from_image|top_down|language|slots|refiner|norms)\.",
        r"cell.\1.",
    ),
)
_WEIGHTS = {
    **dict.fromkeys(
        ("models.rnn_decoder.RNNDecoder", "models.latent.LatentRNNDecoder"), _RECURRENT
    ),
    **dict.fromkeys(
        (
            f"models.families.{name}"
            for name in ("Att2in", "UpDown", "AdaptiveDecoder", "AoADecoder")
        ),
        _PAPERS,
    ),
}


def renamed_weight(name: str, decoder: object) -> str:
    """Return this version's name of a captioner's weight.

    Args:
        name: as in ``Captioner.state_dict()`` of the version that wrote the file.
        decoder: the ``_target_`` of the file's decoder, as that version wrote it.
    """
    patterns = _WEIGHTS.get(str(decoder).removeprefix("captionlab."), ())
    for pattern, replacement in patterns:
        new, changed = re.subn(f"^decoder\\.{pattern}", f"decoder.{replacement}", name)
        if changed:
            return new
    return name
