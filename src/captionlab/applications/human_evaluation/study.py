"""A study in one SQLite file: pairs of captions, who is shown which, and what they answer.

Systems have no names here that a browser is ever sent: a pair is known to it by a random token.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from captionlab.applications.human_evaluation.judgments import EQUAL, Judgment
from captionlab.applications.human_evaluation.study_schema import SCHEMA
from captionlab.applications.human_evaluation.systems import System
from captionlab.applications.sqlite_files import explained, open_sqlite, transaction
from captionlab.core.errors import UserError

GAP = 6  # judgments between a pair and its repetition
ABANDONED = 3600.0  # seconds after which a pair that nobody judged is dealt to others


class Settings(NamedTuple):
    """How a study deals: ``judges_per_pair`` 0 shows every pair to everybody."""

    seed: int = 0
    repeat_share: float = 0.1
    judges_per_pair: int = 0
    rates: bool = False


class Showing(NamedTuple):
    """A pair as one judge sees it; the last answer to it stands beside it, if there is one."""

    id: int
    token: str
    judge: str
    image: str
    left: str
    right: str
    answer: dict[str, str | int | None] | None


class Answer(NamedTuple):
    """What a judge says of a showing; sent again with its ``key`` it is the same answer."""

    choice: str
    key: str
    correctness_left: int | None = None
    correctness_right: int | None = None
    fluency_left: int | None = None
    fluency_right: int | None = None


ANSWERED = ("choice", "correctness_left", "correctness_right", "fluency_left", "fluency_right")


class Study:
    """Deals pairs, keeps every answer before it is confirmed, and knows which system wrote what."""

    def __init__(self, path: Path, *, new: bool = False, clock: Callable[[], float] = time.time):
        self.path = path
        self._clock = clock
        self._lock = threading.RLock()
        self._connection = open_sqlite(path, SCHEMA, new=new)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _using(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock, explained(self.path):
            if write:
                with transaction(self._connection):
                    yield self._connection
            else:
                yield self._connection

    def set_up(self, systems: Sequence[System], images: Sequence[str], settings: Settings) -> None:
        """Compare each two systems on these images; a study that is there already must be the same.

        Raises:
            UserError: if it compares other captions or has other settings.
        """
        rows = sorted(
            (image, a.name, b.name, a.captions[image], b.captions[image])
            for image in images
            for a, b in combinations(sorted(systems, key=lambda one: one.name), 2)
        )
        with self._using(write=True) as connection:
            if connection.execute("SELECT count(*) FROM settings").fetchone()[0] == 0:
                connection.execute("INSERT INTO settings VALUES (1, ?, ?, ?, ?)", settings)
                connection.executemany(
                    "INSERT INTO pairs (image, system_a, system_b, caption_a, caption_b) "
                    "VALUES (?, ?, ?, ?, ?)",
                    rows,
                )
                return
            kept = connection.execute(
                "SELECT image, system_a, system_b, caption_a, caption_b FROM pairs"
            ).fetchall()
        if sorted(kept) != rows:
            raise UserError(f"{self.path} compares other captions: name a new file for this study")
        if self.settings() != settings:
            raise UserError(
                f"{self.path} was begun with other settings ({self.settings()}): leave them as they "
                "were, or name a new file"
            )

    def settings(self) -> Settings:
        """Return how the study deals.

        Raises:
            UserError: if it was never set up.
        """
        with self._using() as connection:
            row = connection.execute(
                "SELECT seed, repeat_share, judges_per_pair, rates FROM settings"
            ).fetchone()
        if row is None:
            raise UserError(f"{self.path} holds no study yet: name the files of captions")
        return Settings(row[0], row[1], row[2], bool(row[3]))

    def images(self, *, asked: bool = False) -> set[str]:
        """Return the pictures of the study, or those alone of which somebody is asked something."""
        differing = " WHERE caption_a <> caption_b" if asked else ""
        with self._using() as connection:
            rows = connection.execute(f"SELECT DISTINCT image FROM pairs{differing}")  # noqa: S608
            return {image for (image,) in rows}

    def identical(self) -> int:
        """Return how many pairs are of the same caption twice; nobody is asked about them."""
        with self._using() as connection:
            row = connection.execute("SELECT count(*) FROM pairs WHERE caption_a = caption_b")
            return int(row.fetchone()[0])

    def deal(self, judge: str) -> str | None:
        """Return the token of what this judge sees next; None where nothing is left.

        Pairs that few have judged go first, in an order of the judge's own; now and then one comes
        again with its sides exchanged.
        """
        settings = self.settings()
        with self._using(write=True) as connection:
            waiting = connection.execute(
                "SELECT token FROM showings WHERE judge = ? AND id NOT IN (SELECT showing FROM answers)",
                (judge,),
            ).fetchone()
            if waiting is not None:
                return str(waiting[0])
            seen = connection.execute(
                "SELECT pair, swapped, repeats FROM showings WHERE judge = ? ORDER BY id", (judge,)
            ).fetchall()
            fresh = self._fresh_pair(connection, judge, settings)
            again = _to_repeat(seen, settings.repeat_share, last=fresh is None)
            if again is not None:
                pair, swapped, repeats = again[0], 1 - again[1], 1
            elif fresh is not None:
                pair, swapped, repeats = fresh, _draw(settings.seed, judge, fresh, "side") & 1, 0
            else:
                return None
            token = secrets.token_urlsafe(12)
            connection.execute(
                "INSERT INTO showings (token, judge, pair, swapped, repeats, time) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (token, judge, pair, swapped, repeats, self._clock()),
            )
            return token

    def _fresh_pair(
        self, connection: sqlite3.Connection, judge: str, settings: Settings
    ) -> int | None:
        rows = connection.execute(
            "SELECT pairs.id, count(showings.id) FROM pairs LEFT JOIN showings ON "
            "showings.pair = pairs.id AND showings.repeats = 0 AND (showings.time > ? OR "
            "showings.id IN (SELECT showing FROM answers)) "
            "WHERE caption_a <> caption_b AND pairs.id NOT IN "
            "(SELECT pair FROM showings WHERE judge = ?) GROUP BY pairs.id",
            (self._clock() - ABANDONED, judge),
        ).fetchall()
        most = settings.judges_per_pair or float("inf")
        open_pairs = [(count, _draw(settings.seed, judge, pair, "order"), pair) for pair, count in rows
                      if count < most]  # fmt: skip
        return min(open_pairs)[2] if open_pairs else None

    def showing(self, token: str) -> Showing | None:
        """Return what a token stands for, None for a token of nothing."""
        with self._using() as connection:
            row = connection.execute(
                "SELECT showings.id, judge, image, caption_a, caption_b, swapped FROM showings "
                "JOIN pairs ON pairs.id = pair WHERE token = ?",
                (token,),
            ).fetchone()
            if row is None:
                return None
            number, judge, image, a, b, swapped = row
            answer = connection.execute(
                f"SELECT {', '.join(ANSWERED)} FROM answers WHERE showing = ? "  # noqa: S608 - constants
                "ORDER BY id DESC LIMIT 1",
                (number,),
            ).fetchone()
        left, right = (b, a) if swapped else (a, b)
        kept = None if answer is None else dict(zip(ANSWERED, answer, strict=True))
        return Showing(number, token, judge, image, left, right, kept)

    def answer(self, showing: Showing, answer: Answer) -> None:
        """Keep an answer; of several to one showing the last one counts."""
        with self._using(write=True) as connection:
            connection.execute(
                "INSERT INTO answers (choice, key, correctness_left, correctness_right, fluency_left, "
                "fluency_right, showing, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (key) DO NOTHING",
                (*answer, showing.id, self._clock()),
            )

    def progress(self, judge: str) -> dict[str, int]:
        """Return how many showings a judge has answered, and about how many there will be."""
        settings = self.settings()
        with self._using() as connection:
            (done,) = connection.execute(
                "SELECT count(DISTINCT showing) FROM answers JOIN showings ON showings.id = showing "
                "WHERE judge = ?",
                (judge,),
            ).fetchone()
            (pairs,) = connection.execute(
                "SELECT count(*) FROM pairs WHERE caption_a <> caption_b"
            ).fetchone()
        return {"done": done, "most": max(done, pairs + int(pairs * settings.repeat_share))}

    def judgments(self) -> list[Judgment]:
        """Return every judgment, in the order of the answers; of each showing the last one."""
        with self._using() as connection:
            rows = connection.execute(
                "SELECT judge, image, system_a, system_b, caption_a, caption_b, swapped, repeats, "
                "showings.time, answers.time, choice, correctness_left, correctness_right, "
                "fluency_left, fluency_right FROM answers JOIN showings ON showings.id = showing "
                "JOIN pairs ON pairs.id = pair WHERE answers.id IN "
                "(SELECT max(id) FROM answers GROUP BY showing) ORDER BY answers.id"
            ).fetchall()
        return [_judgment(row) for row in rows]


def _judgment(row: Sequence[object]) -> Judgment:
    judge, image, a, b, caption_a, caption_b, swapped, repeats, shown, answered, choice = row[:11]
    left, right = (b, a) if swapped else (a, b)
    chosen: Mapping[object, object] = {"left": left, "right": right, EQUAL: EQUAL}
    correctness, fluency = row[11:13], row[13:15]
    if swapped:
        correctness, fluency = correctness[::-1], fluency[::-1]
    ratings = dict(zip(("correctness_a", "correctness_b", "fluency_a", "fluency_b"),
                       (*correctness, *fluency), strict=True))  # fmt: skip
    return Judgment(
        judge=str(judge),
        image=str(image),
        system_a=str(a),
        system_b=str(b),
        choice=str(chosen[choice]),
        left=str(left),
        repeat=bool(repeats),
        caption_a=str(caption_a),
        caption_b=str(caption_b),
        seconds=round(max(0.0, float(str(answered)) - float(str(shown))), 1),
        **{name: None if one is None else int(str(one)) for name, one in ratings.items()},
    )


def _to_repeat(
    seen: Sequence[tuple[int, int, int]], share: float, *, last: bool
) -> tuple[int, int] | None:
    """Return pair and swapped of what is shown again now, None for nothing.

    ``seen``: (pair, swapped, repeats) of the judge's showings; ``last``: there is no fresh pair, so
    that the gap need not be kept.
    """
    repeated = {pair for pair, _, repeats in seen if repeats}
    originals = len(seen) - len(repeated)
    if len(repeated) + 1 > share * originals:
        return None
    old = seen if last else seen[: max(0, len(seen) - GAP)]
    return next(((pair, swapped) for pair, swapped, repeats in old
                 if not repeats and pair not in repeated), None)  # fmt: skip


def _draw(seed: int, judge: str, pair: int, what: str) -> int:
    """Return a number that is random for each judge and pair, and the same when asked again."""
    digest = hashlib.sha256(f"{seed}\0{judge}\0{pair}\0{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
