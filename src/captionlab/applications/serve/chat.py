"""``POST /v1/chat/completions``: programs made for OpenAI's API use a captioner as it is."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from captionlab.applications.serve.captioning import Captioning
from captionlab.applications.serve.chat_schemas import (
    ChatExtras,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ContentPart,
    Message,
    TextAs,
    Usage,
)
from captionlab.applications.serve.http import ApiError
from captionlab.applications.serve.schemas import LONGEST_TEXT, Wishes
from captionlab.applications.serve.service import Service
from captionlab.applications.serve.uploads import parse_json
from captionlab.applications.serve.validation import validated
from captionlab.inference.words import WordedCaption

chat_router = APIRouter(tags=["chat"])
ENDS_SENTENCE = tuple(".?!:;。？！：")
SEEDS = 2**63


@chat_router.post("/v1/chat/completions", response_model=ChatResponse)
async def chat(request: Request) -> Response:
    """Caption the last picture of a conversation.

    Its last text is a question or the caption's first words, as the captioner learned it.
    """
    service: Service = request.app.state.service
    async with service.admitted(request):
        async with service.bodies.reading(request) as body:
            asked = validated(ChatRequest, await service.in_pool(parse_json, body))
            picture, text = conversation(asked.messages)
            extras = asked.captionlab or ChatExtras.model_validate({})
            text_as = extras.text or meaning(text, service.captioning)
            wishes = wishes_of(asked, extras, text, text_as, service.captioning.max_length)
            captioned = await service.caption(request, [picture], wishes)
        answer = _answer(service, wishes, captioned.images[0], text_as)
    if not asked.stream:
        return Response(answer.model_dump_json(), media_type="application/json")
    with_usage = asked.stream_options is not None and asked.stream_options.include_usage
    return StreamingResponse(
        _events(answer, captioned.images[0], with_usage), media_type="text/event-stream"
    )


def conversation(messages: Sequence[Message]) -> tuple[str, str]:
    """Return the last picture of a conversation, and the text of its last message of a user.

    Raises:
        ApiError: without a picture, and for several in one message.
    """
    pictures: list[str] = []
    text = ""
    for message in messages:
        parts = _parts(message)
        own = [part.image_url.url for part in parts if part.image_url is not None]
        pictures = own or pictures
        if message.role == "user":
            text = " ".join(part.text for part in parts if part.text).strip()
    if len(pictures) != 1:
        count = "several pictures" if pictures else "no picture"
        raise ApiError(
            400,
            f"messages: there is {count}, and a captioner takes one, as a part of content "
            '{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,..."}}',
            param="messages",
        )
    return pictures[0], text


def _parts(message: Message) -> list[ContentPart]:
    if isinstance(message.content, str):
        return [ContentPart(type="text", text=message.content)]
    return message.content or []


def meaning(text: str, captioning: Captioning) -> TextAs:
    """Return what a text is to a captioner.

    Programs ask every model "Describe this image.": a captioner that learned no questions does that
    anyway. Words that its captions never had, or a sentence that has ended, begin no caption.
    """
    if not text:
        return "ignore"
    tokenizer = captioning.loaded.tokenizer
    if tokenizer.answers:
        return "question"
    if not captioning.takes_beginning or text.endswith(ENDS_SENTENCE) or len(text) > LONGEST_TEXT:
        return "ignore"
    known = all(tokenizer.unk_id not in tokenizer.encode(word) for word in text.split())
    return "beginning" if known else "ignore"


def wishes_of(
    asked: ChatRequest, extras: ChatExtras, text: str, text_as: TextAs, longest: int
) -> Wishes:
    """Return what a chat asks of a captioner that writes ``longest`` tokens at most."""
    random = bool(asked.temperature)
    # the most that a client takes: what a captioner writes at most stays as it is
    length = asked.max_completion_tokens or asked.max_tokens
    fields: dict[str, Any] = {
        "num_captions": asked.n or 1,
        "max_length": None if length is None else min(length, longest),
        "style": extras.style,
        "language": extras.language,
        "question": text if text_as == "question" else "",
        "begin": text if text_as == "beginning" else "",
    }
    if random:
        fields |= {"decoding": "sampling", "temperature": asked.temperature, "top_p": asked.top_p}
        fields |= {"seed": None if asked.seed is None else asked.seed % SEEDS}
    return validated(Wishes, fields)


def _answer(
    service: Service, wishes: Wishes, captions: Sequence[WordedCaption], text_as: TextAs
) -> ChatResponse:
    given = service.captioning.prompt_length(wishes)
    written = sum(caption.length for caption in captions)
    return ChatResponse(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=service.settings.model_id,
        system_fingerprint=service.settings.version,
        choices=[
            Choice(
                index=index,
                message=ChatMessage(content=caption.text),
                finish_reason="stop" if caption.complete else "length",
            )
            for index, caption in enumerate(captions)
        ],
        usage=Usage(prompt_tokens=given, completion_tokens=written, total_tokens=given + written),
        captionlab={"text": text_as},
    )


def _events(
    answer: ChatResponse, captions: Sequence[WordedCaption], with_usage: bool
) -> Iterator[str]:
    """Yield the answer as server-sent events: each caption word by word, then its end."""
    for choice, caption in zip(answer.choices, captions, strict=True):
        yield _event(answer, choice.index, {"role": "assistant", "content": ""})
        for piece in _pieces(choice.message.content, caption):
            yield _event(answer, choice.index, {"content": piece})
        yield _event(answer, choice.index, {}, choice.finish_reason)
    if with_usage:
        yield _data(_chunk(answer) | {"choices": [], "usage": answer.usage.model_dump()})
    yield "data: [DONE]\n\n"


def _pieces(text: str, caption: WordedCaption) -> Iterator[str]:
    """Yield a text in pieces that end behind its words; together they are the text."""
    start = 0
    for word in caption.words:
        end = text.index(word.text, start) + len(word.text)
        yield text[start:end]
        start = end


def _event(
    answer: ChatResponse, index: int, delta: dict[str, Any], finish: str | None = None
) -> str:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _data(_chunk(answer) | {"choices": [choice]})


def _chunk(answer: ChatResponse) -> dict[str, Any]:
    shared = answer.model_dump(include={"id", "created", "model", "system_fingerprint"})
    return shared | {"object": "chat.completion.chunk"}


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
