"""The references of a split, tokenized and counted once; then a caption costs a few look-ups.

I images, R references in all, C candidate captions, T tokens. A gram is an n-gram of order 1 to 4
as a number: the rank of (number of its first n-1 words, last word) among the references' grams. So
grams of any order fit 64 bits whatever the vocabulary, and no order of images changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from captionlab.core.errors import UserError

ImageId = int | str
Tokenize = Callable[[str], list[str]]
MAX_ORDER = 4


@dataclass(frozen=True)
class GramIndex:
    """Every gram of one order in the references, as sorted flat arrays.

    A pair is an (image, gram) that occurs; its entries say in which references and how often.
    """

    keys: np.ndarray  # (grams,) prefix * vocabulary + last word, sorted; the gram is the position
    pair_keys: np.ndarray  # (pairs,) image * grams + gram, sorted
    pair_first: np.ndarray  # (pairs + 1,) first entry of each pair
    pair_max: np.ndarray  # (pairs,) largest count in one reference of the image
    entry_reference: np.ndarray  # (entries,) 0..R-1
    entry_count: np.ndarray  # (entries,)

    @property
    def pair_gram(self) -> np.ndarray:
        """The gram (pairs,) of each pair."""
        return self.pair_keys % max(len(self.keys), 1)

    @cached_property
    def document_frequency(self) -> np.ndarray:
        """Number of images (grams,) that have the gram in at least one reference."""
        return np.bincount(self.pair_gram, minlength=len(self.keys))


@dataclass(frozen=True)
class GramCounts:
    """The grams of one order in the candidates: one item for each (candidate, gram)."""

    candidate: np.ndarray  # 0..C-1
    gram: np.ndarray  # number in the GramIndex; beyond its last one for grams no reference has
    count: np.ndarray
    pair: np.ndarray  # the (image, gram) in the GramIndex, -1 where the image lacks the gram


@dataclass(frozen=True)
class Candidates:
    """Captions to score, tokenized and counted; several may belong to one image."""

    rows: np.ndarray  # (C,) row of each caption's image in the references
    texts: list[str]  # tokens joined by one space, as coco-caption's tokenizer gives them
    lengths: np.ndarray  # (C,) words
    orders: tuple[GramCounts, ...]

    def __len__(self) -> int:
        return len(self.texts)


class PreparedReferences:
    """References of a split, ready to score any number of candidates for any of its images.

    Args:
        references: captions of each image. UserError for no image, or an image without a caption.
        tokenize: caption -> tokens; also applied to the candidates.
    """

    def __init__(self, references: Mapping[ImageId, Sequence[str]], tokenize: Tokenize) -> None:
        if not references:
            raise UserError("there is nothing to score: the split has no images")
        for image_id, captions in references.items():
            if not captions:
                raise UserError(
                    f"image {image_id!r} has no reference caption; "
                    "leave it out of the split that is to be scored"
                )
        self.tokenize = tokenize
        self.image_ids: tuple[ImageId, ...] = tuple(references)
        self._row = {image_id: row for row, image_id in enumerate(self.image_ids)}
        self.texts = [[" ".join(tokenize(c)) for c in references[i]] for i in self.image_ids]
        sizes = [len(texts) for texts in self.texts]
        self.first = np.concatenate(([0], np.cumsum(sizes)))  # (I+1,) first reference of each image
        words, self.lengths = _split_words(chain.from_iterable(self.texts))
        self._vocabulary = {word: number for number, word in enumerate(sorted(set(words)))}
        tokens = np.array([self._vocabulary[word] for word in words], dtype=np.int64)
        owner = np.repeat(np.arange(len(self.lengths)), self.lengths)
        image = np.repeat(np.arange(len(sizes)), sizes)
        self.orders = _index_references(tokens, owner, self.lengths, image, len(self._vocabulary))

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def vocabulary(self) -> list[str]:
        """The words of the references, by their number."""
        return list(self._vocabulary)

    def rows(self, image_ids: Iterable[ImageId]) -> np.ndarray:
        """Return the row (C,) of each image; UserError for an image without references."""
        try:
            return np.array([self._row[image_id] for image_id in image_ids], dtype=np.int64)
        except KeyError as error:
            raise UserError(
                f"image {error.args[0]!r} has no reference caption, so its caption cannot be scored"
            ) from None

    def candidates(self, image_ids: Iterable[ImageId], captions: Iterable[str]) -> Candidates:
        """Return the captions tokenized and counted; UserError for an image without references."""
        return self.tokenized_candidates(self.rows(image_ids), map(self.tokenize, captions))

    def tokenized_candidates(self, rows: np.ndarray, tokens: Iterable[Sequence[str]]) -> Candidates:
        """Return captions that are token lists already, counted; ``rows`` (C,) as of ``rows()``."""
        texts = [" ".join(caption) for caption in tokens]
        if len(texts) != len(rows):
            raise ValueError(f"{len(rows)} images but {len(texts)} captions")
        words, lengths = _split_words(texts)
        size = len(self._vocabulary)
        # sorted, so that the order in which captions come changes no sum by a rounding error
        distinct = set(words)
        new = sorted(distinct - self._vocabulary.keys())
        number = {word: self._vocabulary[word] for word in distinct if word in self._vocabulary}
        number.update((word, size + i) for i, word in enumerate(new))
        ids = np.array([number[word] for word in words], dtype=np.int64)
        owner = np.repeat(np.arange(len(texts)), lengths)
        return Candidates(rows, texts, lengths, self._count(ids, owner, lengths, rows))

    def _count(
        self, tokens: np.ndarray, owner: np.ndarray, lengths: np.ndarray, rows: np.ndarray
    ) -> tuple[GramCounts, ...]:
        size = len(self._vocabulary)
        known_prefixes = 1
        counts = []
        prefix = np.zeros_like(tokens)
        for order, position in enumerate(_positions(lengths, len(tokens))):
            index = self.orders[order]
            last = tokens[position + order]
            gram = _number_grams(index.keys, prefix[position], last, known_prefixes, size)
            prefix[position] = gram
            known_prefixes = len(index.keys)
            stride = int(gram.max(initial=-1)) + 1
            key, count = np.unique(owner[position] * stride + gram, return_counts=True)
            candidate, gram = np.divmod(key, max(stride, 1))
            pair = np.full(len(gram), -1)
            known = np.flatnonzero(gram < known_prefixes)
            query = rows[candidate[known]] * known_prefixes + gram[known]
            pair[known] = _find(index.pair_keys, query)
            counts.append(GramCounts(candidate, gram, count, pair))
        return tuple(counts)


def _split_words(texts: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Return all words of all texts in one list, and the number of words (texts,) of each."""
    # white space inside a token ("1\xa01/2") parts words, as it does in pycocoevalcap's n-grams
    split = [text.split() for text in texts]
    lengths = np.fromiter(map(len, split), dtype=np.int64, count=len(split))
    return list(chain.from_iterable(split)), lengths


def _positions(lengths: np.ndarray, total: int) -> Iterable[np.ndarray]:
    """Yield, for orders 1 to 4, the positions at which a gram of that order starts."""
    remaining = np.repeat(np.cumsum(lengths), lengths) - np.arange(total)
    return (np.flatnonzero(remaining >= order) for order in range(1, MAX_ORDER + 1))


def _find(keys: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the position of each query key in the sorted keys, -1 where it is absent."""
    if not len(keys):
        return np.full(len(query), -1)
    position = np.minimum(np.searchsorted(keys, query), len(keys) - 1)
    return np.where(keys[position] == query, position, -1)


def _number_grams(
    keys: np.ndarray, prefix: np.ndarray, last: np.ndarray, known_prefixes: int, vocabulary: int
) -> np.ndarray:
    """Return the gram of each (prefix, last word); unseen ones number on from len(keys)."""
    known = (prefix < known_prefixes) & (last < vocabulary)
    gram = np.full(len(prefix), -1)
    gram[known] = _find(keys, prefix[known] * vocabulary + last[known])
    unseen = gram < 0
    key = prefix[unseen] * (int(last.max(initial=0)) + 1) + last[unseen]
    gram[unseen] = len(keys) + np.unique(key, return_inverse=True)[1]
    return gram


def _index_references(
    tokens: np.ndarray,  # (T,) numbers of words
    owner: np.ndarray,  # (T,) reference of each token
    lengths: np.ndarray,  # (R,)
    image: np.ndarray,  # (R,)
    vocabulary: int,
) -> tuple[GramIndex, ...]:
    """Return the index of each order from each token's reference and each reference's image."""
    indexes = []
    prefix = np.zeros_like(tokens)
    for order, position in enumerate(_positions(lengths, len(tokens))):
        key = prefix[position] * vocabulary + tokens[position + order]
        keys, gram = np.unique(key, return_inverse=True)
        prefix[position] = gram
        stride = max(len(keys), 1)
        occurrence, count = np.unique(owner[position] * stride + gram, return_counts=True)
        reference, gram = np.divmod(occurrence, stride)
        pair = image[reference] * stride + gram
        # stable: the references of an image stay in their order within each pair
        by_pair = np.argsort(pair, kind="stable")
        pair_keys, first = np.unique(pair[by_pair], return_index=True)
        count = count[by_pair].astype(np.int32)
        indexes.append(
            GramIndex(
                keys=keys,
                pair_keys=pair_keys,
                pair_first=np.append(first, len(by_pair)),
                pair_max=np.maximum.reduceat(count, first) if len(first) else count,
                entry_reference=reference[by_pair].astype(np.int32),
                entry_count=count,
            )
        )
    return tuple(indexes)
