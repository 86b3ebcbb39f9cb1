"""One small export for all tests: tracing one takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from captionlab.inference.loaded import LoadedCaptioner
from captionlab.text.tokenizers import WordTokenizer
from captionlab.text.vocabulary import Vocabulary
from onnx_support import WORDS, export, loaded_of, save_photos, small_preset

CONTROLS = ("<language:de>", "<language:en>", "<style:terse>", "<answer>")


class Small(NamedTuple):
    """A captioner, the folder it was exported to, and photographs."""

    loaded: LoadedCaptioner
    folder: Path
    photos: list[Path]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Return a captioner of questions, styles and languages, that pads, and its export."""
    tokenizer = WordTokenizer(Vocabulary(WORDS)).with_controls(CONTROLS)
    loaded = loaded_of(small_preset("tiny", vocabulary=15), tokenizer, fit="pad")
    folder = tmp_path_factory.mktemp("small")
    export(loaded, folder / "export")
    return Small(loaded, folder / "export", save_photos(folder, 4))
