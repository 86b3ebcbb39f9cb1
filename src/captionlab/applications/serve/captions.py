"""``POST /v1/caption`` and ``GET /v1/models``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from captionlab.applications.serve.http import ApiError
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
from captionlab.applications.serve.service import Captioned, Picture, Service, since
from captionlab.applications.serve.uploads import Form, parse_form, parse_json
from captionlab.applications.serve.validation import validated
from captionlab.inference.words import WordedCaption

caption_router = APIRouter(tags=["captions"])
LISTS = ("forced_words",)


@caption_router.post("/v1/caption", response_model=CaptionResponse)
async def caption(request: Request) -> Response:
    """Caption one picture or several, sent as files of a form or as data URIs in JSON."""
    begun = time.monotonic()
    service: Service = request.app.state.service
    async with service.admitted(request):
        read = _reader(request)
        async with service.bodies.reading(request) as body:
            pictures, wishes = await service.in_pool(read, body)
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


def _reader(request: Request) -> Callable[[bytes], tuple[list[Picture], Wishes]]:
    """Return what takes the pictures, and what is asked of them, out of a request's body."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return lambda body: _of_form(parse_form(body, content_type))
    if kind == "application/json":
        return _of_json
    raise ApiError(
        415, f"Content-Type must be multipart/form-data or application/json, not {kind[:60]!r}"
    )


def _of_json(body: bytes) -> tuple[list[Picture], Wishes]:
    asked = validated(CaptionRequest, parse_json(body))
    return _texts(asked), asked


def _of_form(form: Form) -> tuple[list[Picture], Wishes]:
    fields: dict[str, Any] = {}
    for name, values in form.fields.items():
        if name in LISTS:
            fields[name] = [value for value in values if value]
        elif len(values) > 1:
            raise ApiError(400, f"{name}: the form holds it {len(values)} times", param=name)
        elif values[0]:  # a field of a page that was left empty
            fields[name] = values[0]
    asked = validated(CaptionRequest, fields)
    return [*form.images, *_texts(asked)], asked


def _texts(asked: CaptionRequest) -> list[Picture]:
    if asked.image is not None and asked.images is not None:
        raise ApiError(400, "image and images: give one of them", param="images")
    return [asked.image] if asked.image is not None else [*(asked.images or [])]


def _answer(
    service: Service, captioned: Captioned, wishes: Wishes, begun: float
) -> CaptionResponse:
    settings = service.settings
    return CaptionResponse(
        model=Model(id=settings.model_id, version=settings.version),
        results=[
            Result(captions=[_caption(service, one, wishes.attention) for one in captions])
            for captions in captioned.images
        ],
        timings=Timings(
            queue_ms=round(captioned.queue_ms, 2),
            decode_ms=round(captioned.decode_ms, 2),
            total_ms=round(since(begun), 2),
        ),
    )


def _caption(service: Service, caption: WordedCaption, attention: bool) -> Caption:
    return Caption(
        caption=caption.text,
        score=round(caption.score, 4),
        log_prob=round(caption.log_prob, 4),
        probability=_rounded(service.captioning.probability(caption)),
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


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _rows(grid: Any) -> list[list[float]] | None:
    return None if grid is None else [[round(v, 4) for v in row] for row in grid.tolist()]


def _as_response(answer: CaptionResponse) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")
