"""What was seen of a data set, as numbers and as the lines that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from captionlab.data.inspection.captions import Lengths
from captionlab.data.inspection.pictures import PictureFacts
from captionlab.data.records import CaptionRecord
from captionlab.text.prompts import Prompt
from captionlab.text.vocabulary import VocabularyReport

SHOWN_NAMES = 5  # of styles and languages
SAMPLE_CAPTION = 100  # letters of a sample's caption in the lines


@dataclass(frozen=True, slots=True)
class SplitSize:
    """How many images a split has, and captions and questions of all of them together.

    The captions that answer questions are answers. ``styles`` and ``languages``: how many captions
    are in each of those that are asked for.
    """

    images: int
    captions: int
    questions: int = 0
    styles: Mapping[str, int] = field(default_factory=dict)
    languages: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        asked = [counted("language", self.languages), counted("style", self.styles)]
        asked = [f", {words}" for words in asked if words]
        if self.questions:
            each = f"{self.captions / self.questions:.1f} a question"
            return (
                f"{self.images:,} images, {self.questions:,} questions, "
                f"{self.captions:,} answers, {each}{''.join(asked)}"
            )
        share = f", {self.captions / self.images:.1f} an image" if self.images else ""
        return f"{self.images:,} images, {self.captions:,} captions{share}{''.join(asked)}"


def counted(what: str, captions: Mapping[str, int]) -> str:
    """Return how many styles or languages there are, and the most frequent ones; empty for none."""
    ordered = sorted(captions.items(), key=lambda one: (-one[1], one[0]))
    names = ", ".join(f"{name} {count:,}" for name, count in ordered[:SHOWN_NAMES])
    more = ", ..." if len(ordered) > SHOWN_NAMES else ""
    number = f"{len(ordered):,} {what}{'s' if len(ordered) > 1 else ''}"
    return f"{number} ({names}{more})" if ordered else ""


@dataclass(frozen=True, slots=True)
class PicturesSeen:
    """How many pictures could be read and how many not, and (width, height) of the extremes by area."""

    read: int
    broken: int
    smallest: tuple[int, int]
    largest: tuple[int, int]

    @classmethod
    def of(
        cls, sound: int, broken: int, extremes: tuple[PictureFacts, PictureFacts]
    ) -> PicturesSeen:
        """Return the summary of pictures, of which at least one could be read."""
        small, large = extremes
        return cls(sound, broken, (small.width, small.height), (large.width, large.height))

    def __str__(self) -> str:
        small, large = ("{} x {}".format(*size) for size in (self.smallest, self.largest))
        return f"{self.read:,} read, {small} to {large} pixels"


def shown_captions(record: CaptionRecord) -> list[str]:
    """Return a record's captions as people read them, each once.

    Its language and style stand before it in brackets, and a question before its answer.
    """
    if not record.prompts:
        return list(record.captions)
    pairs = zip(record.prompts, record.captions, strict=True)
    return list(dict.fromkeys(f"{_head(prompt)}{text}" for prompt, text in pairs))


def _head(prompt: Prompt) -> str:
    names = str(replace(prompt, question="", beginning=""))
    return f"[{names}] " * bool(names) + f"{prompt.question} " * bool(prompt.question)


@dataclass
class Inspection:
    """What is in a data set; ``str`` of it is what ``captionlab inspect`` prints.

    Args:
        name: what the data are called. splits: their sizes by name.
        lengths: of the training captions, in tokens. vocabulary: how it fits them. None where there
            are none.
        unknown: of each other split, the share of all running tokens that the vocabulary lacks.
        pictures: None where they are ``drawn`` instead, and where none can be read (a warning).
        warnings: what to look at. problems: what makes a score wrong.
        samples: some records, each with its split.
    """

    name: str = ""
    splits: dict[str, SplitSize] = field(default_factory=dict)
    lengths: Lengths | None = None
    vocabulary: VocabularyReport | None = None
    unknown: dict[str, float] = field(default_factory=dict)
    pictures: PicturesSeen | None = None
    drawn: bool = False
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    samples: list[tuple[str, CaptionRecord]] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, str]:
        """What was seen, in words, by the name of each fact."""
        facts = {split: str(size) for split, size in self.splits.items()}
        if self.lengths is not None:
            facts["length"] = str(self.lengths)
        if self.vocabulary is not None:
            facts["vocabulary"] = str(self.vocabulary)
        for split, share in self.unknown.items():
            facts[f"unknown {split}"] = f"{share:.2%} of the running tokens"
        if self.pictures is not None or self.drawn:
            facts["pictures"] = "drawn, not read" if self.drawn else str(self.pictures)
        return facts

    def lines(self) -> list[str]:
        """Return facts, warnings, problems and samples as lines of text."""
        found = [*self.facts.items()]
        found += [("warning", text) for text in self.warnings]
        found += [("problem", text) for text in self.problems]
        for split, record in self.samples:
            caption = " ".join(shown_captions(record)[0].split())
            short = caption[:SAMPLE_CAPTION] + "..." * (len(caption) > SAMPLE_CAPTION)
            found.append(("sample", f"{split} {record.image_id}: {short}"))
        return [f"{name:<10} {text}" for name, text in found]

    def __str__(self) -> str:
        return "\n".join(self.lines())
