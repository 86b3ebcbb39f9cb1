"""Decoders: a Memory and words in, hidden states and logits out."""

from captionlab.core.lazy import lazy_exports

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
    },
)
