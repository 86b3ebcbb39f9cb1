"""Text: what is scored, tokens and ids. Imports none of its sibling packages."""

from captionlab.text.ptb import ptb_tokens
from captionlab.text.scoring import character_tokens, scoring_tokenizer
from captionlab.text.tokenizers import (
    CharacterTokenizer,
    PretrainedTokenizer,
    SubwordTokenizer,
    Tokenizer,
    WordTokenizer,
    tokenizer_from_dict,
)
from captionlab.text.vocabulary import Vocabulary, VocabularyReport

__all__ = [
    "CharacterTokenizer",
    "PretrainedTokenizer",
    "SubwordTokenizer",
    "Tokenizer",
    "Vocabulary",
    "VocabularyReport",
    "WordTokenizer",
    "character_tokens",
    "ptb_tokens",
    "scoring_tokenizer",
    "tokenizer_from_dict",
]
