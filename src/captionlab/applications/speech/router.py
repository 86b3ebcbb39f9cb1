"""``POST /v1/speech``: a text becomes speech."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from captionlab.applications.serve.http import overloaded
from captionlab.applications.speech.voices import LONGEST_TEXT, Voice, speak

MOST_AT_ONCE = 4  # texts that are spoken or wait for it


class SpeechRequest(BaseModel):
    """A text and its language."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=LONGEST_TEXT)
    language: str = Field("en", max_length=35, description="en, zh, pt-BR ...")


def speech_router(voices: Sequence[Voice]) -> APIRouter:
    """Return the route, over the voices that ``installed_voices`` found.

    Without any it answers with a sentence that says how to install one.
    """
    router = APIRouter(tags=["speech"])
    speaking = asyncio.Semaphore(MOST_AT_ONCE)

    @router.post(
        "/v1/speech",
        response_class=Response,
        responses={200: {"content": {"audio/wav": {}}, "description": "The text, spoken."}},
    )
    async def speech(request: SpeechRequest) -> Response:
        """Return a text as speech, a WAV file."""
        if speaking.locked():
            raise overloaded("all voices are speaking", 2)
        async with speaking:
            audio = await run_in_threadpool(speak, request.text, request.language, voices)
        return Response(audio, media_type="audio/wav")

    return router
