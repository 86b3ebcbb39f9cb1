"""Decoders: a Memory and words in, hidden states and logits out."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.models.decoders.language_model.captioner_text import (
        CaptionerText as CaptionerText,
    )
    from captionlab.models.decoders.language_model.decoder import (
        LanguageModelDecoder as LanguageModelDecoder,
    )
    from captionlab.models.decoders.language_model.prefix import PrefixDecoder as PrefixDecoder
    from captionlab.models.decoders.nearest import NearestDecoder as NearestDecoder
    from captionlab.models.decoders.recurrent.adaptive import AdaptiveCell as AdaptiveCell
    from captionlab.models.decoders.recurrent.adaptive import adaptive as adaptive
    from captionlab.models.decoders.recurrent.aoa import AoACell as AoACell
    from captionlab.models.decoders.recurrent.aoa import aoa as aoa
    from captionlab.models.decoders.recurrent.att2in import Att2inCell as Att2inCell
    from captionlab.models.decoders.recurrent.att2in import att2in as att2in
    from captionlab.models.decoders.recurrent.cell import RecurrentCell as RecurrentCell
    from captionlab.models.decoders.recurrent.decoder import RecurrentDecoder as RecurrentDecoder
    from captionlab.models.decoders.recurrent.latent import LatentDecoder as LatentDecoder
    from captionlab.models.decoders.recurrent.latent import latent_decoder as latent_decoder
    from captionlab.models.decoders.recurrent.rnn import rnn_decoder as rnn_decoder
    from captionlab.models.decoders.recurrent.up_down import UpDownCell as UpDownCell
    from captionlab.models.decoders.recurrent.up_down import up_down as up_down
    from captionlab.models.decoders.transformer.decoder import (
        TransformerDecoder as TransformerDecoder,
    )
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "recurrent.decoder": ["RecurrentDecoder"],
            "recurrent.cell": ["RecurrentCell"],
            "recurrent.rnn": ["rnn_decoder"],
            "recurrent.att2in": ["Att2inCell", "att2in"],
            "recurrent.up_down": ["UpDownCell", "up_down"],
            "recurrent.adaptive": ["AdaptiveCell", "adaptive"],
            "recurrent.aoa": ["AoACell", "aoa"],
            "recurrent.latent": ["LatentDecoder", "latent_decoder"],
            "transformer.decoder": ["TransformerDecoder"],
            "language_model.decoder": ["LanguageModelDecoder"],
            "nearest": ["NearestDecoder"],
            "language_model.prefix": ["PrefixDecoder"],
            "language_model.captioner_text": ["CaptionerText"],
        },
    )
