"""A captioner behind HTTP, as the tests of the server want it: small, quick, of this process."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from captionlab.applications.serve.app import create_app
from captionlab.applications.serve.server import DrainingServer, listen
from captionlab.applications.serve.settings import ServeSettings
from captionlab.build import Sizes, build_captioner
from captionlab.decoding import Greedy
from captionlab.inference.loaded import LoadedCaptioner, load_captioner
from captionlab.text.tokenizers import WordTokenizer
from tests_support import tiny_config

CHECKPOINTS = Path(__file__).parent / "fixtures" / "checkpoints"
LOCAL = "http://127.0.0.1"
WORDS = "a red blue circle square what color is the how many one two on"


def checkpoint(name: str = "lstm") -> LoadedCaptioner:
    """Return a small captioner whose captions are no sense, and always the same."""
    return load_captioner(CHECKPOINTS / f"{name}.ckpt")


def small_captioner(*controls: str, words: str = WORDS) -> LoadedCaptioner:
    """Return an untrained captioner of these words, which may have learned questions, styles ..."""
    tokenizer = WordTokenizer.fit([words] * 5).with_controls(controls)
    config = tiny_config("model.encoder.channels=[8,12]")
    torch.manual_seed(0)
    network = build_captioner(config["model"], Sizes.of(tokenizer))
    return LoadedCaptioner(network, tokenizer, Greedy(max_length=6), config)


def application(loaded: LoadedCaptioner | None = None, **settings: object) -> FastAPI:
    """Return an application with these settings."""
    return create_app(loaded or checkpoint(), ServeSettings(**settings))


@contextmanager
def client_of(app: FastAPI) -> Iterator[TestClient]:
    """Give a client of an application, whose lifespan it is."""
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def serving(app: FastAPI, settings: ServeSettings | None = None) -> Iterator[str]:
    """Serve an application at a free port of this machine; gives its address."""
    with listen("127.0.0.1", 0) as listening:
        server = DrainingServer(app, settings or ServeSettings())
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"{LOCAL}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@cache
def picture(
    width: int = 40, height: int = 30, mode: str = "RGB", form: str = "PNG", color: int = 90
) -> bytes:
    """Return an encoded picture of one color."""
    file = io.BytesIO()
    Image.new(mode, (width, height), color).save(file, form)
    return file.getvalue()


def uri(data: bytes | None = None) -> str:
    """Return a picture as a data URI."""
    encoded = base64.b64encode(picture() if data is None else data).decode()
    return f"data:image/png;base64,{encoded}"


def files_of(*pictures: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """Return pictures as the files of a form."""
    return [("image", ("picture", one)) for one in pictures or (picture(),)]
