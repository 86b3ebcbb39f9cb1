"""What ``caption.py`` must know beside the graphs: a caption's limits, words and prompts as ids.

It has no tokenizer: what it reads and writes is prepared here, so that joining pieces is all it does.
"""

from __future__ import annotations

import json
from typing import Any

from captionlab.core.errors import UserError
from captionlab.core.special_tokens import SpecialTokens
from captionlab.decoding import Beam, Greedy
from captionlab.decoding.constraints import GenerationConstraints, word_ids
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.text.prompts import ANSWER, Prompt
from captionlab.text.ptb_tables import SPLITS
from captionlab.text.scoring import CJK
from captionlab.text.tokenizers import CharacterTokenizer, Tokenizer, WordTokenizer

# words as ``ptb_tokens`` splits plain English; what else stands in a text, caption.py refuses
_TWO = "|".join(f"{first}(?={second}\\b)" for first, second in SPLITS.values())
PLAIN_WORDS = rf"\b(?:{_TWO})|[a-z]+?(?=n't\b)|n't\b|'(?:s|d|m|ll|re|ve)\b|[a-z0-9]+(?:-[a-z0-9]+)*"
CHARACTERS = rf"[{CJK}]|[^\W_{CJK}]+"
NOTHING = r"(?!)"


def runner_settings(loaded: LoadedCaptioner) -> dict[str, Any]:
    """Return what an exported captioner's runner reads.

    ``beams`` is None where the decoding is neither greedy nor a plain beam search, or its tokenizer
    is not known how to be written: ``reason`` says so.
    """
    return {**_limits(loaded), **_texts(loaded.tokenizer)}


def _limits(loaded: LoadedCaptioner) -> dict[str, Any]:
    decoding: Any = loaded.decoding
    beams, reason = _beams(decoding)
    limits = decoding if isinstance(decoding, GenerationConstraints) else GenerationConstraints()
    tokenizer = loaded.tokenizer
    banned = (tokenizer.unk_id, *tokenizer.control_ids)
    forbidden = word_ids("forbidden_words", limits.forbidden_words, tokenizer.encode, banned)
    never = {tokenizer.pad_id, tokenizer.bos_id, *banned, *forbidden} - {tokenizer.eos_id}
    return {
        "beams": beams,
        "reason": reason,
        "length_penalty": getattr(decoding, "length_penalty", Beam.length_penalty),
        "max_length": limits.max_length,
        "min_length": limits.min_length,
        "never": sorted(never),
    }


def _beams(decoding: Any) -> tuple[int | None, str | None]:
    """Return the beams that give the captions of a decoding, or why there are none."""
    further = [
        f"decoding.{name}={value!r}"
        for name in ("no_repeat_ngram", "bad_endings", "forced_words")
        if (value := getattr(decoding, name, None))
    ]
    if isinstance(decoding, Beam) and decoding.groups > 1:
        further.append(f"decoding.groups={decoding.groups}")
    if not isinstance(decoding, Beam | Greedy):
        further.append(f"decoding={type(decoding).__name__.lower()}")
    if not further:
        return (decoding.beam_size if isinstance(decoding, Beam) else 1), None
    return None, (
        f"this captioner decodes with {', '.join(further)}, of which caption.py knows nothing: say "
        "--beam N for captions without, or captionlab predict FOLDER"
    )


def _texts(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return how ids become text, and the plain text of prompts ids."""
    split = unspaced = NOTHING
    if isinstance(tokenizer, WordTokenizer):
        pieces = [f" {word}" for word in tokenizer.vocabulary.tokens[SpecialTokens.COUNT :]]
        split = PLAIN_WORDS
        if isinstance(tokenizer, CharacterTokenizer):
            split, unspaced = CHARACTERS, rf"(?<=[{CJK}]) | (?=[{CJK}])"
    else:
        described: dict[str, Any] = tokenizer.to_dict()
        pieces = subword_texts(json.loads(described["json"]))
    controls = [""] * len(tokenizer.control_ids)
    answer = dict(zip(tokenizer.controls, tokenizer.control_ids, strict=False)).get(ANSWER)
    return {
        "pieces": [*[""] * SpecialTokens.COUNT, *pieces, *controls],
        "unspaced": unspaced,
        "words": split,
        "language": {n: tokenizer.encode_prompt(Prompt(language=n)) for n in tokenizer.languages},
        "style": {n: tokenizer.encode_prompt(Prompt(style=n)) for n in tokenizer.styles},
        "question": {} if answer is None else {"answer": [answer]},
    }


def subword_texts(pieces: dict[str, Any]) -> list[str]:
    """Return the texts of a tokenizer's pieces by id, to be put one behind the other.

    ``pieces`` is the JSON of Hugging Face's ``tokenizers``. Bytes that are no text by themselves are
    escaped as half characters (Python's surrogateescape). Special tokens have no text.

    Raises:
        UserError: for pieces of another kind than bytes and BERT's words.
    """
    kind = (pieces.get("decoder") or {}).get("type")
    if kind not in ("ByteLevel", "WordPiece"):
        raise UserError(
            f"caption.py cannot be given this tokenizer: its pieces are of the kind {kind}, and ByteLevel "
            "and WordPiece are known; say --format safetensors"
        )
    ids = dict(pieces["model"]["vocab"])
    special = set()
    for token in pieces.get("added_tokens", []):
        ids[token["content"]] = token["id"]
        if token["special"]:
            special.add(token["content"])
    texts = [""] * (max(ids.values()) + 1)
    text_of = _of_bytes if kind == "ByteLevel" else _of_word
    for piece, number in ids.items():
        texts[number] = "" if piece in special else text_of(piece)
    return texts


def _of_bytes(piece: str) -> str:
    """Return the text of a piece in GPT-2's alphabet, one letter a byte (Radford et al. 2019)."""
    if any(letter not in _BYTES for letter in piece):
        return piece  # one that was added as text
    return bytes(_BYTES[letter] for letter in piece).decode("utf-8", "surrogateescape")


def _of_word(piece: str) -> str:
    """Return the text of a WordPiece, with the space before it where it begins a word."""
    if piece.startswith("##"):
        return piece.removeprefix("##")
    return piece if piece in _JOINED else f" {piece}"


def _alphabet() -> dict[str, int]:
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    named = {chr(byte): byte for byte in plain}
    return named | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _alphabet()
# what stands without a space before it, as transformers cleans a text up
_JOINED = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")
