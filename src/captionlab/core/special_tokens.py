"""The tokens that stand before the words in every vocabulary."""

from __future__ import annotations

from typing import Final


class SpecialTokens:
    """Ids of the special tokens, the same in every tokenizer, and their texts in that order.

    Plain integers: they go into tensors and checkpoints.
    """

    PAD: Final = 0
    BOS: Final = 1
    EOS: Final = 2
    UNK: Final = 3
    TEXTS: Final = ("<pad>", "<bos>", "<eos>", "<unk>")
    COUNT: Final = len(TEXTS)  # the id of the first word
