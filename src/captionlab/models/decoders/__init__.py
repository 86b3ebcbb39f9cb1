"""Decoders: a Memory and words in, hidden states and logits out."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "recurrent.rnn_decoder": ["RNNDecoder"],
        "recurrent.families": ["Att2in", "UpDown", "AdaptiveDecoder", "AoADecoder"],
        "recurrent.latent": ["LatentRNNDecoder"],
        "transformer.decoder": ["TransformerDecoder"],
        "language_model.decoder": ["LanguageModelDecoder"],
    },
)
