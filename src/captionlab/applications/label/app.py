"""The application in which people label: what the page asks for, and what it sends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from captionlab.applications.label.actions import WITH_CAPTION
from captionlab.applications.label.proposals import Proposer
from captionlab.applications.label.store import LabelStore, NewAction
from captionlab.applications.label.wording import clean_caption, clean_person
from captionlab.applications.local_pages import Address, page_app
from captionlab.applications.picture_views import PictureViews
from captionlab.applications.serve.http import ApiError
from captionlab.data.images.files import BrokenImage

PAGE = Path(__file__).parent / "page"

Number = Annotated[int, Field(ge=1, lt=2**53, strict=True)]
Text = Annotated[str, Field(max_length=20_000)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    person: Text


class DealBody(_Body):
    """Who wants the next picture."""


class LeaseBody(_Body):
    """Who goes on with a picture."""


class UndoBody(_Body):
    """Who takes back the last action; ``key`` is the request's own."""

    key: Key


class ActionBody(_Body):
    """An action, as ``actions.Action`` has it; ``key`` is its own, so that it may be sent again."""

    picture: Number
    kind: Literal["accept", "correct", "add", "remove", "skip", "nothing_true"]
    key: Key
    caption: Text | None = None
    original: Text | None = None
    target: Number | None = None


@dataclass(frozen=True)
class Labeling:
    """What is labeled: the store, the pictures, and who proposes, if anybody does."""

    folder: Path
    store: LabelStore
    proposer: Proposer | None = None

    def describe(self, number: int) -> dict[str, Any]:
        """Return what the page shows of a picture.

        Raises:
            ApiError: 404 where the folder has no picture of this number.
        """
        self.require(number)
        state = self.store.state(number)
        proposals = self.store.proposals(number)
        proposer = self.proposer
        pending = proposer is not None and not proposer.failure and proposer.model not in proposals
        if proposer is not None and pending:
            proposer.ask(number)
        return {
            "number": number,
            "name": self.store.present[number],
            "status": state.status,
            "captions": [
                {"id": one.id, "text": one.text, "person": one.person, "kind": one.kind}
                for one in state.captions
            ],
            "skipped_by": state.skipped_by,
            "nothing_true_by": state.nothing_true_by,
            "proposals": [
                {"caption": one.caption, "score": one.score, "model": model}
                for model, of_model in proposals.items()
                for one in of_model
            ],
            "pending": pending,
        }

    def require(self, number: int) -> None:
        """Raise ApiError 404 unless the folder has a picture of this number."""
        if number not in self.store.present:
            raise ApiError(404, f"there is no picture {number}")

    def progress(self) -> dict[str, int]:
        """Return how far the folder is."""
        return self.store.progress()._asdict()


def create_app(labeling: Labeling, address: Address | None = None) -> FastAPI:
    """Return the application; an action is on the disk before it is answered."""
    app = page_app("captionlab label", PAGE, address or Address())
    _add_pictures(app, labeling)
    _add_actions(app, labeling)
    return app


def _add_pictures(app: FastAPI, labeling: Labeling) -> None:
    views = PictureViews(labeling.folder)
    store = labeling.store

    @app.get("/api/session")
    def session() -> dict[str, Any]:
        proposer = labeling.proposer
        return {
            "folder": labeling.folder.resolve().name,
            "model": proposer.model if proposer else None,
            "failure": proposer.failure if proposer else None,
            "progress": labeling.progress(),
        }

    @app.post("/api/next")
    def deal(body: DealBody) -> dict[str, Any]:
        number = store.deal(clean_person(body.person, "person"))
        if labeling.proposer is not None:
            labeling.proposer.ask()
        picture = None if number is None else labeling.describe(number)
        return {"picture": picture, "progress": labeling.progress()}

    @app.get("/api/pictures/{number}")
    def picture(number: int) -> dict[str, Any]:
        return {"picture": labeling.describe(number), "progress": labeling.progress()}

    @app.get("/api/pictures/{number}/image")
    def image(number: int) -> Response:
        labeling.require(number)
        try:
            view = views.jpeg(store.present[number])
        except BrokenImage as error:
            # the sentence names a path of this machine first
            reason = str(error).removeprefix(f"{labeling.folder / store.present[number]} ")
            raise ApiError(404, f"this picture {reason}") from None
        return Response(view, media_type="image/jpeg")

    @app.post("/api/pictures/{number}/lease")
    def lease(number: int, body: LeaseBody) -> dict[str, Any]:
        labeling.require(number)
        held_by = store.renew(clean_person(body.person, "person"), number)
        picture = labeling.describe(number)
        return {"held_by": held_by, "picture": picture, "progress": labeling.progress()}


def _add_actions(app: FastAPI, labeling: Labeling) -> None:
    store = labeling.store

    @app.post("/api/actions")
    def act(body: ActionBody) -> dict[str, Any]:
        (number,) = store.act([_checked(body, labeling)])
        picture = labeling.describe(body.picture)
        return {"id": number, "picture": picture, "progress": labeling.progress()}

    @app.post("/api/undo")
    def undo(body: UndoBody) -> dict[str, Any]:
        undone = store.undo(clean_person(body.person, "person"), body.key)
        there = undone is not None and undone.picture in store.present
        return {
            "undone": undone.kind if undone else None,
            "caption": undone.caption if undone else None,
            "picture": labeling.describe(undone.picture) if undone and there else None,
            "progress": labeling.progress(),
        }


def _checked(body: ActionBody, labeling: Labeling) -> NewAction:
    """Return the action of a request.

    Raises:
        ApiError, UserError: for what makes no sense of itself; what somebody else did meanwhile is
            no error.
    """
    labeling.require(body.picture)
    caption = original = target = None
    if body.kind in WITH_CAPTION:
        caption = clean_caption(body.caption, "caption")
        original = clean_caption(body.original, "original") if body.original else None
    elif body.caption is not None:
        raise ApiError(400, f"caption: {body.kind} takes none", param="caption")
    if body.kind in ("correct", "remove"):
        target = body.target
    if body.kind == "remove" and target is None:
        raise ApiError(400, "target: say which caption is removed", param="target")
    person = clean_person(body.person, "person")
    return NewAction(body.picture, person, body.kind, body.key, caption, original, target)
