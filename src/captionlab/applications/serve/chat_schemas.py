"""OpenAI's chat completions, as far as a captioner can answer them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MOST_MESSAGES = 100
MOST_PARTS = 64
LONGEST_CHAT_TEXT = 20_000  # characters; system messages are long, and are not read
ChatText = Annotated[str, StringConstraints(max_length=LONGEST_CHAT_TEXT)]
TextAs = Literal["question", "beginning", "ignore"]


class _Lenient(BaseModel):
    """What clients send beside (user, logit_bias, tools ...) means nothing to a captioner."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class ImageUrl(_Lenient):
    """A picture."""

    url: str = Field(description="data:image/jpeg;base64,..., or an address where allowed.")


class ContentPart(_Lenient):
    """A text or a picture."""

    type: Literal["text", "image_url"]
    text: ChatText = ""
    image_url: ImageUrl | None = None


class Message(_Lenient):
    """One message: the last picture and the last user's text count, system messages do not."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: ChatText | Annotated[list[ContentPart], Field(max_length=MOST_PARTS)] | None = None


class StreamOptions(_Lenient):
    """What a stream holds beside the text."""

    include_usage: bool = False


class ChatExtras(BaseModel):
    """What OpenAI's API has no field for (``extra_body`` of its client)."""

    model_config = ConfigDict(extra="forbid")

    text: TextAs | None = Field(
        None,
        description="What the user's text is: a question, the caption's first words, or nothing. Left "
        "out: a question where the captioner learned to answer, else its first words where it knows "
        "all of them and they end no sentence, else nothing.",
    )
    style: str = Field("", max_length=100)
    language: str = Field("", max_length=100)


class ChatRequest(_Lenient):
    """A picture, and a text that asks or begins."""

    model: Annotated[str, StringConstraints(max_length=300)] = ""
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    n: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, description="0: nothing is random.")
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, description="The same captions again.")
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    captionlab: ChatExtras | None = None


class ChatMessage(BaseModel):
    """The caption."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """One caption."""

    index: int
    message: ChatMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class Usage(BaseModel):
    """Tokens; those of the picture are the places of it that the captioner looks at."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatResponse(BaseModel):
    """The captions of a picture."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage
    captionlab: dict[str, Any] = Field(description="What the user's text was taken for.")
