"""Scores of a whole split, the same on one process and on many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed as dist

from captionlab.core.distributed import all_gather_object, rank, world_size
from captionlab.core.errors import UserError
from captionlab.metrics.groups import Group
from captionlab.metrics.meteor import Meteor
from captionlab.metrics.own_scores import OwnScores
from captionlab.metrics.references import ImageId, Tokenize
from captionlab.metrics.split_scorer import Known, Scores, SplitScorer, Truth, image_order
from captionlab.metrics.wups import Similarity

# of each image: its caption, its references, a set of captions (empty where none was made)
Collected = dict[ImageId, tuple[str, tuple[str, ...], tuple[str, ...]]]


class CaptionMetrics:
    """Collects generated captions batch by batch and scores each image once, over all processes.

    Padded distributed samplers repeat images; of an image's captions the first one of the lowest
    rank counts. Rank 0 scores, every rank gets the scores. References are prepared once and kept as
    long as the images and their references stay the same. Arguments as of ``SplitScorer``; METEOR's
    process starts, on rank 0 only, with the first batch: it loads while captions are generated.
    ``groups`` are scored beside the whole, each by itself. ``asks``: whether an image id is that of a
    question; where none is, there are no scores of answers.
    """

    def __init__(
        self,
        tokenize: Tokenize,
        *,
        meteor: Meteor | None = None,
        truth: Truth | None = None,
        known: Known | None = None,
        groups: Sequence[Group] = (),
        answers: bool = False,
        asks: Callable[[ImageId], bool] = lambda _: True,
        similarity: Similarity | None = None,
        own: OwnScores | None = None,
    ) -> None:
        self._groups = tuple(groups)
        self._tokenize, self._meteor, self._truth, self._known = tokenize, meteor, truth, known
        self._answers, self._asks, self._similarity = answers, asks, similarity
        self._own = own
        self._collected: Collected = {}
        self._prepared: tuple[dict[ImageId, tuple[str, ...]], SplitScorer] | None = None

    def names(self, *, sets: bool) -> set[str]:
        """Return the names of the corpus scores that ``compute`` will give.

        ``sets``: whether ``update`` gets several captions an image. METEOR counts as there, though
        its process may fail later, and so do the scores of answers, which need questions, and for
        vqa_accuracy several answers of one.
        """
        # nothing is read for a name
        similarity = self._similarity and (lambda *_: None)
        truth, known = self._truth and (lambda *_: True), self._known and (lambda *_: True)
        references: dict[ImageId, Sequence[str]] = {
            0: ("a dog runs", "the dog is running"),
            1: ("a red cat", "one cat sleeps"),
        }
        captions: dict[ImageId, str] = {i: several[0] for i, several in references.items()}
        scorer = SplitScorer(
            references,
            str.split,
            truth=truth,
            known=known,
            answers=self._answers,
            similarity=similarity,
        )
        names = set(scorer(captions, references if sets else None).corpus)
        names |= set(self._own.names if self._own else ())
        names = names.union(*(group.names(names) for group in self._groups))
        return names | {"meteor"} if self._meteor is not None else names

    @property
    def meteor(self) -> Meteor | None:
        """METEOR's process, None where it is left out."""
        return self._meteor

    def update(
        self,
        image_ids: Sequence[ImageId],
        captions: Sequence[str],
        references: Sequence[Sequence[str]],
        sets: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Add a batch: one caption, the references and, for diversity, several captions an image."""
        if rank() == 0:
            for meteor in self._processes():
                meteor.start()
        several = [()] * len(captions) if sets is None else [tuple(one) for one in sets]
        for image_id, caption, texts, own in zip(
            image_ids, captions, references, several, strict=True
        ):
            self._collected.setdefault(image_id, (caption, tuple(texts), own))

    def compute(self) -> Scores:
        """Return the scores of all captions since ``reset``, on every rank.

        Every rank must call it, one without captions too. UserError, on all ranks, where no rank
        has a caption or an image has no reference; RuntimeError where rank 0 failed otherwise.
        """
        if world_size() == 1:
            return self._score([self._collected])
        gathered = all_gather_object(self._collected)
        if rank() == 0:
            return self._score_and_broadcast(gathered)
        message: list[Any] = [None]
        dist.broadcast_object_list(message, src=0)
        scores, user_error, error = message[0]
        if user_error is not None:
            raise UserError(user_error)
        if error is not None:
            raise RuntimeError(f"scoring failed on rank 0: {error}")
        return scores

    def reset(self) -> None:
        """Forget the captions; prepared references stay until other ones come."""
        self._collected = {}

    def close(self) -> None:
        """End METEOR's process; a later ``compute`` goes without it."""
        for meteor in self._processes():
            meteor.close()

    def _processes(self) -> list[Meteor]:
        every = [self._meteor, *(group.meteor for group in self._groups)]
        return [meteor for meteor in dict.fromkeys(every) if meteor is not None]

    def _score_and_broadcast(self, gathered: list[Collected]) -> Scores:
        # whatever happens here, the other ranks wait for a message
        message: tuple[Scores | None, str | None, str | None] = (None, None, "it was interrupted")
        try:
            scores = self._score(gathered)
            message = (scores, None, None)
        except UserError as error:
            message = (None, str(error), None)
            raise
        except Exception as error:
            message = (None, None, f"{type(error).__name__}: {error}")
            raise
        finally:
            dist.broadcast_object_list([message], src=0)
        return scores

    def _score(self, gathered: list[Collected]) -> Scores:
        merged: Collected = {}
        for collected in reversed(gathered):
            merged.update(collected)
        ids = image_order(merged)
        references = {i: merged[i][1] for i in ids}
        if self._prepared is None or self._prepared[0] != references:
            scorer = SplitScorer(
                references,
                self._tokenize,
                meteor=self._meteor,
                truth=self._truth,
                known=self._known,
                answers=self._answers and any(map(self._asks, ids)),
                similarity=self._similarity,
                own=self._own,
            )
            self._prepared = (references, scorer)
        sets = {i: merged[i][2] for i in ids} if all(merged[i][2] for i in ids) else None
        scores = self._prepared[1]({i: merged[i][0] for i in ids}, sets)
        for group in self._groups:
            scores.corpus.update(group.scores(scores, references))
        return scores
