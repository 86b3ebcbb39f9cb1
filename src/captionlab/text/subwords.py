"""Pieces of words: tokenizers that know every text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Self, cast

from captionlab.core.errors import UserError
from captionlab.core.hugging_face import looking_for, transformers
from captionlab.core.special_tokens import SpecialTokens
from captionlab.text.prompts import LANGUAGE, STYLE, Prompt, PromptEncoder
from captionlab.text.token_ids import FORMAT, up_to_eos
from captionlab.text.vocabulary import VocabularyReport

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HuggingFaceTokenizer


class SubwordTokenizer(PromptEncoder):
    """Byte-level BPE of lower-cased captions (Sennrich et al. 2016; bytes as in Radford et al. 2019).

    ``decode(encode(x))`` is x in lower case with single spaces, whatever x holds; no token is
    unknown. Trained by Hugging Face's ``tokenizers``.
    """

    kind: ClassVar[str] = "subword"
    pad_id: ClassVar[int] = SpecialTokens.PAD
    bos_id: ClassVar[int] = SpecialTokens.BOS
    eos_id: ClassVar[int] = SpecialTokens.EOS
    unk_id: ClassVar[int] = SpecialTokens.UNK

    def __init__(self, pieces: HuggingFaceTokenizer) -> None:
        # what a file may ask for, and no caption wants: a billion ids of padding
        pieces.no_padding()
        pieces.no_truncation()
        self._pieces = pieces  # its ids begin at 0: the special ones stay out of reach of any text

    @classmethod
    def fit(cls, captions: Iterable[str], *, size: int = 4000) -> Self:
        """Return the tokenizer with at most ``size`` entries (special ones counted) for captions.

        Raises:
            UserError: if the captions hold no text, or ``size`` has no room for the 256 bytes.
        """
        # Its threads would warn at every later fork of a data-loader worker.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer as HuggingFaceTokenizer
        from tokenizers import decoders, models, pre_tokenizers, trainers

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        least = SpecialTokens.COUNT + len(alphabet)
        if size < least:
            raise UserError(
                f"data.tokenizer.size={size} is too small: the special tokens and the "
                f"{len(alphabet)} bytes alone need {least}."
            )
        texts = Counter(map(_normalize, captions))
        if not any(texts):
            raise UserError(
                f"There is no vocabulary: {texts.total():,} training captions hold no words. "
                "Check data.root and the caption file."
            )
        pieces = HuggingFaceTokenizer(models.BPE())
        pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        pieces.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size - SpecialTokens.COUNT,
            min_frequency=2,
            initial_alphabet=alphabet,
            show_progress=False,
        )
        pieces.train_from_iterator(texts.elements(), trainer)
        return cls(pieces)

    def __len__(self) -> int:
        return self.num_words + len(self.control_ids)

    @property
    def num_words(self) -> int:
        """How many ids there are without those of control tokens."""
        return int(self._pieces.get_vocab_size()) + SpecialTokens.COUNT

    def encode(self, text: str) -> list[int]:
        """Return the ids of a caption, without bos and eos."""
        normal = self._normal(text)
        if not normal:
            return []
        ids = self._pieces.encode(normal, add_special_tokens=False).ids
        return [i + SpecialTokens.COUNT for i in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids up to the first eos; pad, bos, unk and broken bytes are skipped."""
        words = self.num_words
        text = self._pieces.decode([i - SpecialTokens.COUNT for i in up_to_eos(ids) if i < words])
        return " ".join(text.replace("\ufffd", "").split())

    @staticmethod
    def _normal(text: str) -> str:
        return _normalize(text)

    def report(self, captions: Iterable[str]) -> VocabularyReport:
        """Return how the vocabulary fits these captions: its pieces are all known."""
        types = {i for caption in captions for i in self.encode(caption)}
        return VocabularyReport(size=len(self), types=len(types), coverage=1.0, unknown=0.0)

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types, for a checkpoint."""
        return {
            "kind": self.kind,
            "format": FORMAT,
            "json": self._pieces.to_str(),
            **self.stored_controls(),
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, object]) -> Self:
        """Return the tokenizer that ``to_dict`` wrote (UserError if it is damaged)."""
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer as HuggingFaceTokenizer

        try:
            tokenizer = cls(HuggingFaceTokenizer.from_str(cast("str", entry["json"])))
        except Exception as error:  # the library raises plain Exception
            raise UserError(f"This subword tokenizer is damaged: {error}.") from error
        return tokenizer.with_stored_controls(entry)


class PretrainedTokenizer(SubwordTokenizer):
    """The tokenizer of a pretrained language model, with the case of the captions as it is.

    Its ids stand 4 higher than the model's own, behind pad, bos, eos and unk.
    """

    kind: ClassVar[str] = "pretrained"

    @classmethod
    def fit(cls, captions: Iterable[str], *, name: str = "gpt2") -> Self:  # type: ignore[override]
        """Return the tokenizer of a Hugging Face model, by its name or the path of a folder.

        It was trained before: the captions do not change it.

        Raises:
            UserError: if transformers is missing, or the tokenizer cannot be had.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        library = transformers("data/tokenizer=pretrained")
        with looking_for("data.tokenizer", name):
            return cls(library.AutoTokenizer.from_pretrained(name).backend_tokenizer)

    @staticmethod
    def _normal(text: str) -> str:
        return _clean(text)

    @property
    def control_ids(self) -> tuple[int, ...]:
        """No ids: the model has none to spare, and reads prompts as text."""
        return ()

    def encode_prompt(self, prompt: Prompt, longest: int | None = None) -> list[int]:
        """Return the ids of a prompt as text: ``in zh: ornate: question: ... answer: ...``.

        ``longest``: what is longer of a question, in words, is cut; None cuts nothing.

        Raises:
            UserError: for a style or a language that was not learned, and for a question where none
                was.
        """
        parts = []
        if prompt.language:
            self._require_learned("language", LANGUAGE, prompt.language)
            parts.append(f"in {prompt.language}:")
        if prompt.style:
            self._require_learned("style", STYLE, prompt.style)
            parts.append(f"{prompt.style}:")
        if prompt.question:
            self._require_questions(prompt)
            words = prompt.question.split()[:longest]
            parts.append(f"question: {' '.join(words)} answer:")
        return self.encode(" ".join([*parts, prompt.beginning]))


def _normalize(text: str) -> str:
    """Return the text in lower case with single spaces, without what UTF-8 cannot hold."""
    return _clean(text.lower())


def _clean(text: str) -> str:
    utf8 = text.replace("\ufffd", "").encode("utf-8", "ignore").decode("utf-8")
    return " ".join(utf8.split())
