"""What people do to the captions of a picture, and what is so after all they did.

Actions are only ever added. What they come to is computed from all of them, so that two people who
act at the same moment lose nothing: two corrections of one caption are two captions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["accept", "correct", "add", "remove", "skip", "nothing_true", "undo"]
KINDS: tuple[str, ...] = get_args(Kind)
WITH_CAPTION = ("accept", "correct", "add")

Status = Literal["open", "captioned", "nothing_true"]


@dataclass(frozen=True, slots=True)
class Action:
    """One action of one person on one picture.

    Attributes:
        caption: the text that it gives the picture: accepted, corrected or added.
        original: the proposal that was accepted or corrected.
        target: the action whose caption it corrects or removes, or that it undoes.
    """

    id: int
    picture: int
    person: str
    time: float
    kind: str
    caption: str | None = None
    original: str | None = None
    target: int | None = None


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption that a picture has; ``id`` is that of the action that gave it."""

    id: int
    text: str
    person: str
    kind: str


@dataclass(frozen=True, slots=True)
class PictureState:
    """What is so of a picture after some actions.

    It is "open" until somebody gives it a caption or says that nothing is true of what was proposed;
    a skip leaves it to others.
    """

    captions: tuple[Caption, ...] = ()
    skipped_by: tuple[str, ...] = ()
    nothing_true_by: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """Whether it has captions, is rejected, or waits for somebody."""
        if self.captions:
            return "captioned"
        return "nothing_true" if self.nothing_true_by else "open"

    def texts(self) -> list[str]:
        """Return the captions, each once, in the order in which they were given."""
        return list(dict.fromkeys(caption.text for caption in self.captions))


OPEN = PictureState()


def state_of(actions: Iterable[Action]) -> PictureState:
    """Return what the actions on one picture come to, in any order given.

    What refers to nothing that is there changes nothing: the file they are from may be a stranger's.
    """
    ordered = sorted(actions, key=lambda action: action.id)
    effective = effective_actions(ordered)
    gone = {action.target for action in effective if action.kind in ("correct", "remove")}
    captions = tuple(
        Caption(action.id, action.caption, action.person, action.kind)
        for action in effective
        if action.kind in WITH_CAPTION and action.caption and action.id not in gone
    )
    return PictureState(captions, _people(effective, "skip"), _people(effective, "nothing_true"))


def effective_actions(ordered: Iterable[Action]) -> list[Action]:
    """Return the actions, in order of their ids, that stand: neither undone nor an undo themselves."""
    ordered = list(ordered)
    undone = {action.target for action in ordered if action.kind == "undo"}
    return [one for one in ordered if one.kind != "undo" and one.id not in undone]


def _people(actions: Iterable[Action], kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(action.person for action in actions if action.kind == kind))
