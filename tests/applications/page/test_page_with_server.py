"""The page as ``captionlab serve`` shows it, with a captioner behind it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import PAGE
from page_support import picture


@pytest.fixture(scope="module")
def address(finished_run: Path) -> Iterator[str]:
    """The address of a server with a small captioner of the built-in pictures."""
    uvicorn = pytest.importorskip("uvicorn")
    pytest.importorskip("fastapi")
    from captionlab import load_captioner
    from captionlab.applications.serve.app import create_app

    app = create_app(load_captioner(finished_run / "checkpoints" / "best.ckpt"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.slow
def test_a_captioner_answers_the_page(browser, address):
    page = browser.new_page(reduced_motion="reduce")
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(address)
    page.set_input_files("#file", picture(90, 60, "PNG"))
    page.wait_for_selector("#answer:not([hidden])", timeout=30_000)
    assert page.inner_text("#spoken") == page.inner_text("#captions li:first-child span >> nth=0")
    page.close()
    assert problems == []


def test_the_page_holds_nothing_inline_and_all_that_it_names():
    html = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", html)
    scripts = {path: path.read_text("utf-8") for path in PAGE.glob("*.js")}
    named = set(re.findall(r'(?:src|href)="page/([^"]+)"', html))
    named |= {name for text in scripts.values() for name in re.findall(r'from "\./([^"]+)"', text)}
    assert named == {path.name for path in PAGE.iterdir()} - {"index.html"}
    for text in (html, *scripts.values(), (PAGE / "style.css").read_text("utf-8")):
        assert not re.search(r"https?:|\binnerHTML|outerHTML|insertAdjacentHTML|\beval\b", text)
    # what the scripts look up is there
    ids = {name for text in scripts.values() for name in re.findall(r'\$\("([a-z-]+)"\)', text)}
    assert ids <= set(re.findall(r'\sid="([a-z-]+)"', html))
