"""``POST /v1/caption`` and ``GET /v1/models``."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from captionlab.applications.serve.http import ApiError, first_error
from captionlab.applications.serve.images import decode_data_uri
from captionlab.applications.serve.schemas import (
    Caption,
    CaptionRequest,
    CaptionResponse,
    Model,
    Result,
    Timings,
    Wishes,
    Word,
)
from captionlab.applications.serve.service import Captioned, Service, since
from captionlab.applications.serve.uploads import Form, parse_form, parse_json, read_body
from captionlab.inference.words import WordedCaption

caption_router = APIRouter(tags=["captions"])
LISTS = ("forced_words",)

Pictures = list[Callable[[], bytes]]


@caption_router.post("/v1/caption", response_model=CaptionResponse)
async def caption(request: Request) -> Response:
    """Caption one picture or several, sent as files of a form or as data URIs in JSON."""
    begun = time.monotonic()
    service: Service = request.app.state.service
    async with service.admitted(request):
        pictures, wishes = await _read(request, service)
        captioned = await service.caption(request, pictures, wishes)
        answer = _answer(service, captioned, wishes, begun)
        # a page of attention maps is megabytes of text
        return await service.in_pool(_as_response, answer)


@caption_router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """List the captioner, in OpenAI's form, with what can be asked of it."""
    return {"object": "list", "data": [_model(request.app.state.service)]}


@caption_router.get("/v1/models/{model_id:path}")
async def model(request: Request, model_id: str) -> dict[str, Any]:
    """Return the captioner's entry of the list."""
    entry = _model(request.app.state.service)
    if model_id != entry["id"]:
        raise ApiError(404, f"there is no model {model_id!r} here, but {entry['id']!r}")
    return entry


def _model(service: Service) -> dict[str, Any]:
    return {
        "id": service.settings.model_id,
        "object": "model",
        "created": service.created,
        "owned_by": "captionlab",
        "captionlab": {"version": service.settings.version, **service.captioning.describe()},
    }


async def _read(request: Request, service: Service) -> tuple[Pictures, Wishes]:
    """Return the pictures of a request and what is asked of them."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        body = await read_body(request)
        return _of_form(await service.in_pool(parse_form, body, content_type))
    if kind == "application/json":
        body = await read_body(request)
        return _of_json(await service.in_pool(parse_json, body))
    raise ApiError(
        415, f"Content-Type must be multipart/form-data or application/json, not {kind[:60]!r}"
    )


def _of_form(form: Form) -> tuple[Pictures, Wishes]:
    fields: dict[str, Any] = {}
    for name, values in form.fields.items():
        if name in LISTS:
            fields[name] = [value for value in values if value]
        elif len(values) > 1:
            raise ApiError(400, f"{name}: the form holds it {len(values)} times", param=name)
        elif values[0]:  # a field of a page that was left empty
            fields[name] = values[0]
    request = validated(CaptionRequest, fields)
    pictures: Pictures = [partial(bytes, data) for data in form.images]
    return pictures + _sources(request), request


def _of_json(values: Any) -> tuple[Pictures, Wishes]:
    request = validated(CaptionRequest, values)
    return _sources(request), request


def _sources(request: CaptionRequest) -> Pictures:
    if request.image is not None and request.images is not None:
        raise ApiError(400, "image and images: give one of them", param="images")
    several = request.images or []
    given = [("image", request.image)] if request.image is not None else []
    given += [(f"images.{number}", text) for number, text in enumerate(several)]
    return [partial(decode_data_uri, text, name) for name, text in given]


def validated(model: type[BaseModel], values: Any) -> Any:
    """Return values as an object of a model.

    Raises:
        ApiError: with the first thing that is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise first_error(error.errors(include_url=False)) from None


def _answer(
    service: Service, captioned: Captioned, wishes: Wishes, begun: float
) -> CaptionResponse:
    settings = service.settings
    return CaptionResponse(
        model=Model(id=settings.model_id, version=settings.version),
        results=[
            Result(captions=[_caption(one, wishes.attention) for one in captions])
            for captions in captioned.images
        ],
        timings=Timings(
            queue_ms=round(captioned.queue_ms, 2),
            decode_ms=round(captioned.decode_ms, 2),
            total_ms=round(since(begun), 2),
        ),
    )


def _caption(caption: WordedCaption, attention: bool) -> Caption:
    return Caption(
        caption=caption.text,
        score=round(caption.score, 4),
        log_prob=round(caption.log_prob, 4),
        probability=None,
        words=[
            Word(
                word=word.text,
                confidence=round(word.confidence, 4),
                attention=_rows(word.attention) if attention else None,
                given=word.given,
            )
            for word in caption.words
        ],
    )


def _rows(grid: Any) -> list[list[float]] | None:
    return None if grid is None else [[round(v, 4) for v in row] for row in grid.tolist()]


def _as_response(answer: CaptionResponse) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")
