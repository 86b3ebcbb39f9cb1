"""The page in a real chromium: by keyboard alone, two people at once, a server that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from captionlab.applications.label.app import Labeling, create_app
from captionlab.applications.label.store import LabelStore, Proposal
from captionlab.applications.local_pages import Address
from pages_support import chromium, served
from tests_support import HANG


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def proposed(store: LabelStore) -> LabelStore:
    for number in store.present:
        store.keep_proposals("m", {number: [Proposal(f"a dog {number}"), Proposal("a <b>cat</b>")]})
    return store


@pytest.fixture
def url(folder: Path, proposed: LabelStore) -> Iterator[str]:
    with served(create_app(Labeling(folder, proposed))) as server:
        yield server.url


def enter(browser: Any, url: str, name: str, **options: Any) -> Any:
    """Open the page in a browser of its own as somebody, by keyboard."""
    page = browser.new_context(reduced_motion="reduce", **options).new_page()
    page.set_default_timeout(20_000)
    page.goto(url)
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#proposals button")
    return page


def at(page: Any, number: int) -> Any:
    """Wait until the page shows a picture."""
    page.get_by_role("heading", name=f"Picture {number}:").wait_for()
    return page


def test_a_picture_is_accepted_by_keyboard_alone(browser: Any, url: str, proposed: LabelStore):
    page = at(enter(browser, url, "Ann"), 1)
    page.keyboard.press("Enter")
    at(page, 2)
    (caption,) = proposed.state(1).captions
    assert (caption.text, caption.kind, caption.person) == ("a dog 1", "accept", "Ann")


@pytest.mark.slow
def test_all_that_a_person_can_do_by_keyboard(browser: Any, url: str, proposed: LabelStore):
    page = at(enter(browser, url, "Ann"), 1)
    page.keyboard.press("Alt+2")
    page.keyboard.press("End")
    page.keyboard.type(" runs")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector("#captions li")
    assert page.locator("#captions li span span").first.inner_text() == "a <b>cat</b> runs"
    page.keyboard.type("two dogs")
    page.keyboard.press("Enter")
    at(page, 2).keyboard.press("Alt+N")
    at(page, 3).keyboard.press("Alt+U")
    at(page, 2).keyboard.press("Alt+S")
    at(page, 3)
    assert proposed.state(1).texts() == ["a <b>cat</b> runs", "two dogs"]
    assert [one.kind for one in proposed.state(1).captions] == ["correct", "add"]
    assert proposed.state(2).skipped_by == ("Ann",)
    assert proposed.state(2).status == "open"
    page.keyboard.press("Alt+B")
    at(page, 2)
    page.keyboard.press("Alt+O")
    at(page, 3)
    assert page.locator("#status").inner_text().startswith("Picture 3.")


@pytest.mark.slow
def test_two_people_at_two_browsers_lose_nothing(browser: Any, url: str, proposed: LabelStore):
    ann, ben = enter(browser, url, "Ann"), enter(browser, url, "Ben")
    at(ann, 1)
    at(ben, 2)
    ben.goto(f"{url}#1")  # he looks at hers all the same
    ben.reload()
    at(ben, 1).locator("#caption").fill("a brown dog")
    ann.locator("#caption").fill("a dog that runs")
    ben.keyboard.press("Enter")
    ann.keyboard.press("Enter")
    at(ann, 3)
    assert sorted(proposed.state(1).texts()) == ["a brown dog", "a dog that runs"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1400])
def test_axe_finds_nothing(browser: Any, url: str, width: int):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.goto(url)
    assert axe.run(page).violations_count == 0, axe.run(page).generate_report()
    page.close()
    page = at(enter(browser, url, "Ann", viewport={"width": width, "height": 800}), 1)
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector("#captions li")
    page.locator("summary").click()
    assert axe.run(page).violations_count == 0, axe.run(page).generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_the_printed_address_lets_in_and_another_does_not(
    browser: Any, folder: Path, proposed: Any
):
    address = Address.with_token("0.0.0.0", 8000, [], None)
    with served(create_app(Labeling(folder, proposed), address)) as server:
        page = at(enter(browser, f"{server.url}#token={address.token}", "Ann"), 1)
        page.wait_for_selector("#picture[src]")
        assert address.token not in page.url
        stranger = browser.new_context().new_page()
        stranger.goto(server.url)
        stranger.keyboard.type("Eve")
        stranger.keyboard.press("Enter")
        stranger.get_by_text("Open the address that was printed").wait_for()
    assert address.url.endswith(f":8000/#token={address.token}")
    assert "0.0.0.0" not in address.url


SERVE = """
import sys
from pathlib import Path
from captionlab.applications.label.app import Labeling, create_app
from captionlab.applications.label.store import LabelStore, Proposal
from captionlab.applications.local_pages import Address, run_app
folder, port = Path(sys.argv[1]), int(sys.argv[2])
store = LabelStore(folder / "labels.sqlite")
store.add_pictures([f"{n:02}.png" for n in range(20)])
for number in store.present:
    store.keep_proposals("m", {number: [Proposal(f"dog {number}")]})
address = Address(port=port)
run_app(create_app(Labeling(folder, store), address), address, lambda url: print(url, flush=True))
"""


def start(folder: Path, port: int) -> tuple[subprocess.Popen, str]:
    command = [sys.executable, "-c", SERVE, str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


@pytest.mark.slow
def test_a_server_that_is_killed_loses_nothing(browser: Any, tmp_path: Path):
    for number in range(20):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number:02}.png")
    process, url = start(tmp_path, 0)
    page = at(enter(browser, url, "Ann"), 1)
    for number in range(1, 6):
        at(page, number).keyboard.press("Enter")
    at(page, 6)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(HANG)
    page.keyboard.press("Enter")  # while nobody answers
    page.get_by_text("What you did last is not kept yet").wait_for()
    process, _ = start(tmp_path, int(url.rstrip("/").rpartition(":")[2]))
    at(page, 7)
    process.terminate()
    process.wait(HANG)
    process.stdout.close()
    store = LabelStore(tmp_path / "labels.sqlite", new=False)
    store.add_pictures([f"{n:02}.png" for n in range(20)])
    assert [store.state(n).texts() for n in range(1, 8)] == [
        *([f"dog {n}"] for n in range(1, 7)),
        [],
    ]
    store.close()


@pytest.mark.slow
def test_nothing_that_was_confirmed_is_lost_when_the_server_is_killed_among_requests(
    tmp_path: Path,
):
    Image.new("RGB", (8, 8)).save(tmp_path / "00.png")
    process, url = start(tmp_path, 0)
    confirmed: list[str] = []

    def write(person: int) -> None:
        with httpx.Client(base_url=url, timeout=HANG) as client:
            for number in range(10_000):
                caption = f"caption {number} of {person}"
                key = f"key-{person}-{number:05}"
                body = {"person": f"P{person}", "picture": 1, "kind": "add", "key": key}
                try:
                    client.post("api/actions", json=body | {"caption": caption}).raise_for_status()
                except httpx.TransportError:
                    return
                confirmed.append(caption)

    threads = [threading.Thread(target=write, args=(person,)) for person in range(4)]
    for thread in threads:
        thread.start()
    while len(confirmed) < 200 and threads[0].is_alive():
        threads[0].join(0.01)
    assert len(confirmed) >= 200
    os.kill(process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    process.wait(HANG)
    process.stdout.close()
    store = LabelStore(tmp_path / "labels.sqlite", new=False)
    kept = set(store.state(1).texts())
    store.close()
    assert set(confirmed) <= kept
    assert len(kept) - len(confirmed) <= len(threads)  # under way when the light went out
