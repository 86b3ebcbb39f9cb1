"""What is asked of the captioner and what it answers, as pydantic checks and OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

LONGEST_TEXT = 500  # characters of a question or a beginning, each of which is read step by step
LONGEST_CAPTION = 128  # tokens
Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]
Name = Annotated[str, StringConstraints(max_length=100)]
Method = Literal["greedy", "beam", "sampling"]


class Wishes(BaseModel):
    """What is asked of each image of a request; what is not said is as the captioner was trained."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    num_captions: int = Field(1, ge=1, description="Captions of each image, best first.")
    decoding: Method | None = Field(
        None,
        description="How captions are found: the most probable word at each step, the best of several "
        "hypotheses, or drawn at random. Left out: as the captioner's own settings say, or a beam "
        "where several captions or forced words are asked for.",
    )
    beam_size: int | None = Field(None, ge=1, description="Hypotheses of decoding=beam.")
    temperature: float | None = Field(
        None, gt=0, le=10, description="Of decoding=sampling: towards 0 it becomes greedy."
    )
    top_k: int | None = Field(
        None, ge=1, description="Of decoding=sampling: draw from the k likeliest."
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="Of decoding=sampling: draw from the likeliest of this share."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Of decoding=sampling: the same seed, the same captions."
    )
    max_length: int | None = Field(
        None, ge=1, le=LONGEST_CAPTION, description="Tokens of a caption, its end counted."
    )
    forced_words: list[Name] = Field(
        default_factory=list,
        max_length=5,
        description="Words that each caption must hold, in any order (decoding=beam).",
    )
    begin: Text = Field("", description="First words of the caption, which goes on from there.")
    question: Text = Field(
        "", description="What the caption answers, where the captioner learned it."
    )
    style: Name = Field("", description="One of the captioner's styles.")
    language: Name = Field("", description="One of the captioner's languages: en, zh ...")
    attention: bool = Field(
        False, description="Whether each word comes with where the captioner looked for it."
    )


class CaptionRequest(Wishes):
    """Images and what is asked of each of them, as JSON."""

    image: str | None = Field(
        None,
        description="One image as a data URI (data:image/jpeg;base64,...), or its address where the "
        "server was started with --allow-urls.",
    )
    images: list[str] | None = Field(None, description="Several, in place of `image`.")


class Word(BaseModel):
    """A word of a caption."""

    word: str
    confidence: float = Field(
        description="The captioner's probability of the word, given image and words before it (0 to 1)."
    )
    attention: list[list[float]] | None = Field(
        None,
        description="Rows of a grid over the picture as the captioner sees it; null where not asked "
        "for, or where it does not look at a grid.",
    )
    given: bool = Field(False, description="Whether the request began the caption with it.")


class Caption(BaseModel):
    """A caption of an image."""

    caption: str
    score: float = Field(description="What captions of an image are ranked by.")
    log_prob: float = Field(description="Sum of the captioner's log-probabilities of the tokens.")
    probability: float | None = Field(
        None, description="Calibrated chance that it is right; null where none was calibrated."
    )
    words: list[Word]


class Result(BaseModel):
    """The captions of one image, best first."""

    captions: list[Caption]


class Model(BaseModel):
    """Which captioner answered."""

    id: str
    version: str


class Timings(BaseModel):
    """Milliseconds of a request."""

    queue_ms: float
    decode_ms: float
    total_ms: float


class CaptionResponse(BaseModel):
    """One result an image, in the order of the images."""

    model: Model
    results: list[Result]
    timings: Timings


class ErrorDetail(BaseModel):
    """What was wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """A request that has no result."""

    error: ErrorDetail
