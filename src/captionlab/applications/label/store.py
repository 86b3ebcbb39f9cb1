"""The labels of a folder in one SQLite file: every action is on the disk before it is answered."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from captionlab.applications.label.actions import (
    KINDS,
    OPEN,
    Action,
    PictureState,
    effective_actions,
    state_of,
)
from captionlab.applications.sqlite_files import Schema, explained, open_sqlite, transaction

LONGEST_CAPTION = 2000  # characters
LONGEST_PERSON = 60
MOST_ACTIONS = 10**12  # a larger number is a stranger's: after the largest of all SQLite draws lots
MOST_PROPOSALS = 20  # a picture and model
LEASE = 600.0  # seconds that a picture is kept for who got it

_KINDS = ", ".join(f"'{kind}'" for kind in KINDS)
SCHEMA = Schema(
    application_id=0x43_4C_4C_42,  # "CLLB"
    version=1,
    statements=(
        "CREATE TABLE pictures (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE "
        "CHECK (length(name) BETWEEN 1 AND 4096)) STRICT",
        f"CREATE TABLE actions (id INTEGER PRIMARY KEY CHECK (id < {MOST_ACTIONS}), "
        "picture INTEGER NOT NULL REFERENCES pictures, "
        f"person TEXT NOT NULL CHECK (length(person) BETWEEN 1 AND {LONGEST_PERSON}), "
        f"time REAL NOT NULL, kind TEXT NOT NULL CHECK (kind IN ({_KINDS})), "
        f"caption TEXT CHECK (length(caption) BETWEEN 1 AND {LONGEST_CAPTION}), "
        f"original TEXT CHECK (length(original) <= {LONGEST_CAPTION}), target INTEGER, "
        "key TEXT NOT NULL UNIQUE CHECK (length(key) BETWEEN 1 AND 100)) STRICT",
        "CREATE TABLE proposals (picture INTEGER NOT NULL REFERENCES pictures, model TEXT NOT NULL "
        "CHECK (length(model) <= 200), captions TEXT NOT NULL CHECK (length(captions) <= 100000), "
        "PRIMARY KEY (picture, model)) STRICT",
        "CREATE TABLE leases (picture INTEGER PRIMARY KEY REFERENCES pictures, person TEXT NOT NULL, "
        "expires REAL NOT NULL) STRICT",
    ),
    holds="labels",
)


class Proposal(NamedTuple):
    """A caption that a model proposes, and its score where it has one."""

    caption: str
    score: float | None = None


class NewAction(NamedTuple):
    """An action that is to be kept; ``key`` is its own, so that sending it again changes nothing."""

    picture: int
    person: str
    kind: str
    key: str
    caption: str | None = None
    original: str | None = None
    target: int | None = None


class Progress(NamedTuple):
    """How many pictures there are, and how many of them are done in which way."""

    pictures: int
    captioned: int
    nothing_true: int
    open: int


class LabelStore:
    """Pictures by number, what people did to them, what models propose, and who works on which.

    Attributes:
        present: number -> name of the pictures that are in the folder now, in the order of dealing.
    """

    def __init__(self, path: Path, *, new: bool = True, clock: Callable[[], float] = time.time):
        self.path = path
        self.present: dict[int, str] = {}
        self._clock = clock
        self._lock = threading.RLock()
        self._actions: dict[int, list[Action]] = defaultdict(list)
        self._states: dict[int, PictureState] = {}
        self._last = 0
        self._connection = open_sqlite(path, SCHEMA, new=new)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let what a block writes be kept together, or not at all."""
        with self._using(write=True):
            yield

    @contextmanager
    def _using(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock, explained(self.path):
            if write and not self._connection.in_transaction:
                with transaction(self._connection):
                    yield self._connection
            else:
                yield self._connection

    def add_pictures(self, names: Sequence[str]) -> None:
        """Take these names, relative to the folder, as the pictures that are there now."""
        with self._using(write=True) as connection:
            connection.executemany(
                "INSERT INTO pictures (name) VALUES (?) ON CONFLICT (name) DO NOTHING",
                [(name,) for name in names],
            )
        with self._using() as connection:
            known = dict(connection.execute("SELECT name, id FROM pictures"))
        self.present = {known[name]: name for name in names}

    def act(self, actions: Iterable[NewAction]) -> list[int]:
        """Keep actions, all or none, and return their numbers; one that is kept already stays it."""
        now = self._clock()
        with self._using(write=True) as connection:
            numbers = []
            for one in actions:
                connection.execute(
                    "INSERT INTO actions (picture, person, kind, key, caption, original, target, time) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                    (*one, now),
                )
                (number,) = connection.execute(
                    "SELECT id FROM actions WHERE key = ?", (one.key,)
                ).fetchone()
                numbers.append(number)
        return numbers

    def undo(self, person: str, key: str) -> Action | None:
        """Undo the last action of a person that stands; return it, None where there is none."""
        with self._lock:
            self._refresh()
            done = self._of_key(key)
            if done is not None:
                return done
            standing = [
                action
                for of_picture in self._actions.values()
                for action in effective_actions(of_picture)
                if action.person == person
            ]
            if not standing:
                return None
            last = max(standing, key=lambda action: action.id)
            self.act([NewAction(last.picture, person, "undo", key, target=last.id)])
            return last

    def _of_key(self, key: str) -> Action | None:
        """Return what an undo that was kept under this key undid."""
        with self._using() as connection:
            row = connection.execute(
                "SELECT picture, target FROM actions WHERE key = ? AND kind = 'undo'", (key,)
            ).fetchone()
        if row is None:
            return None
        return next((one for one in self._actions[row[0]] if one.id == row[1]), None)

    def state(self, picture: int) -> PictureState:
        """Return what is so of a picture now."""
        with self._lock:
            self._refresh()
            return self._states.get(picture, OPEN)

    def states(self) -> dict[int, PictureState]:
        """Return what is so of each picture that is in the folder now."""
        with self._lock:
            self._refresh()
            return {number: self._states.get(number, OPEN) for number in self.present}

    def actions(self) -> list[Action]:
        """Return all actions, in order."""
        with self._lock:
            self._refresh()
            every = [action for of_picture in self._actions.values() for action in of_picture]
        return sorted(every, key=lambda action: action.id)

    def _refresh(self) -> None:
        """Read what was added since, by other processes too."""
        with self._using() as connection:
            rows = connection.execute(
                "SELECT id, picture, person, time, kind, caption, original, target FROM actions "
                "WHERE id > ? ORDER BY id",
                (self._last,),
            ).fetchall()
        touched = set()
        for row in rows:
            action = Action(*row)
            self._actions[action.picture].append(action)
            touched.add(action.picture)
            self._last = action.id
        for number in touched:
            self._states[number] = state_of(self._actions[number])

    def progress(self) -> Progress:
        """Return how far the folder is."""
        statuses = [state.status for state in self.states().values()]
        captioned, nothing = statuses.count("captioned"), statuses.count("nothing_true")
        return Progress(len(statuses), captioned, nothing, len(statuses) - captioned - nothing)

    def deal(self, person: str) -> int | None:
        """Return an open picture that nobody else works on, kept for this person for a while.

        The one that the person has already stays it. None where nothing is left to deal.
        """
        now = self._clock()
        with self._lock:
            states = self.states()
            with self._using(write=True) as connection:
                connection.execute("DELETE FROM leases WHERE expires < ?", (now,))
                leases = dict(connection.execute("SELECT picture, person FROM leases"))
                waiting = [
                    number
                    for number, state in states.items()
                    if state.status == "open" and person not in state.skipped_by
                ]
                own = [number for number in waiting if leases.get(number) == person]
                free = own or [number for number in waiting if number not in leases]
                connection.execute("DELETE FROM leases WHERE person = ?", (person,))
                if not free:
                    return None
                connection.execute(
                    "INSERT INTO leases (picture, person, expires) VALUES (?, ?, ?)",
                    (free[0], person, now + LEASE),
                )
                return free[0]

    def renew(self, person: str, picture: int) -> str | None:
        """Keep a picture longer for who has it; return the name of another who has it, or None."""
        now = self._clock()
        with self._using(write=True) as connection:
            row = connection.execute(
                "SELECT person FROM leases WHERE picture = ? AND expires >= ?", (picture, now)
            ).fetchone()
            if row is not None and row[0] != person:
                return str(row[0])
            connection.execute(
                "INSERT OR REPLACE INTO leases (picture, person, expires) VALUES (?, ?, ?)",
                (picture, person, now + LEASE),
            )
            return None

    def keep_proposals(self, model: str, found: Mapping[int, Sequence[Proposal]]) -> None:
        """Keep what a model proposes for pictures; those without any are not asked again."""
        with self._using(write=True) as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO proposals (picture, model, captions) VALUES (?, ?, ?)",
                [
                    (number, model, _kept(proposals[:MOST_PROPOSALS]))
                    for number, proposals in found.items()
                ],
            )

    def proposals(self, picture: int) -> dict[str, list[Proposal]]:
        """Return what each model proposes for a picture."""
        with self._using() as connection:
            rows = connection.execute(
                "SELECT model, captions FROM proposals WHERE picture = ? ORDER BY rowid", (picture,)
            ).fetchall()
        return {model: _proposals(text) for model, text in rows}

    def without_proposals(self, model: str, ahead: int) -> list[int]:
        """Return those of the first open pictures that a model has not looked at."""
        with self._using() as connection:
            rows = connection.execute("SELECT picture FROM proposals WHERE model = ?", (model,))
            seen = {number for (number,) in rows}
        waiting = [number for number, state in self.states().items() if state.status == "open"]
        return [number for number in waiting[:ahead] if number not in seen]


def _kept(proposals: Sequence[Proposal]) -> str:
    # \u0000 for each character would make the longest captions of Chinese too long to be kept
    return json.dumps([list(one) for one in proposals], ensure_ascii=False)


def _proposals(text: str) -> list[Proposal]:
    """Return kept proposals; what is none of ours (a changed file) is no proposal."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return []
    found = []
    for item in items[:MOST_PROPOSALS] if isinstance(items, list) else ():
        match item:
            case [str(caption), score]:
                number = float(score) if isinstance(score, float) and isfinite(score) else None
                found.append(Proposal(caption[:LONGEST_CAPTION], number))
    return found
