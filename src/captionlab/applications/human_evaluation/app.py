"""The application in which people judge: which of two captions, never whose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from captionlab.applications.human_evaluation.study import Answer, Showing, Study
from captionlab.applications.label.wording import clean_person
from captionlab.applications.local_pages import Address, page_app
from captionlab.applications.picture_views import PictureViews
from captionlab.applications.serve.http import ApiError
from captionlab.data.images.files import BrokenImage

PAGE = Path(__file__).parent / "page"

Text = Annotated[str, Field(max_length=300)]
Rating = Annotated[int, Field(ge=1, le=5, strict=True)] | None


class DealBody(BaseModel):
    """Who wants the next pair."""

    model_config = ConfigDict(extra="forbid")
    person: Text


class AnswerBody(BaseModel):
    """An answer; ``key`` is its own, so that it may be sent again."""

    model_config = ConfigDict(extra="forbid")
    person: Text
    token: Text
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$")]
    choice: Literal["left", "right", "equal"]
    correctness_left: Rating = None
    correctness_right: Rating = None
    fluency_left: Rating = None
    fluency_right: Rating = None


def create_app(study: Study, folder: Path, address: Address | None = None) -> FastAPI:
    """Return the application; an answer is on the disk before it is confirmed.

    Nothing that it sends names a system, a file of captions, or whether a pair was shown before.
    """
    app = page_app("captionlab human-eval", PAGE, address or Address())
    views = PictureViews(folder)
    rates = study.settings().rates

    @app.post("/api/next")
    def deal(body: DealBody) -> dict[str, Any]:
        judge = clean_person(body.person, "person")
        token = study.deal(judge)
        pair = None if token is None else _described(_showing(study, token))
        return {"pair": pair, "rates": rates, "progress": study.progress(judge)}

    @app.get("/api/pairs/{token}")
    def pair(token: Text) -> dict[str, Any]:
        shown = _showing(study, token)
        return {"pair": _described(shown), "rates": rates, "progress": study.progress(shown.judge)}

    @app.get("/api/pairs/{token}/image")
    def image(token: Text) -> Response:
        shown = _showing(study, token)
        try:
            view = views.jpeg(shown.image)
        except BrokenImage as error:
            # the sentence names a path of this machine first
            reason = str(error).removeprefix(f"{folder / shown.image} ")
            raise ApiError(404, f"this picture {reason}") from None
        return Response(view, media_type="image/jpeg")

    @app.post("/api/answers")
    def answer(body: AnswerBody) -> dict[str, Any]:
        judge = clean_person(body.person, "person")
        shown = _showing(study, body.token)
        if shown.judge != judge:
            raise ApiError(403, "this pair was shown to somebody else")
        given = body.model_dump(exclude={"person", "token"})
        if not rates and any(value is not None for name, value in given.items() if "_" in name):
            raise ApiError(400, "this study asks for no ratings")
        study.answer(shown, Answer(**given))
        return {"progress": study.progress(judge)}

    return app


def _showing(study: Study, token: str) -> Showing:
    shown = study.showing(token)
    if shown is None:
        raise ApiError(404, "there is no such pair")
    return shown


def _described(shown: Showing) -> dict[str, Any]:
    return {
        "token": shown.token,
        "left": shown.left,
        "right": shown.right,
        "answer": shown.answer,
    }
