"""Too many requests, too slow ones, clients that leave, an end that is asked for."""

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from captionlab.applications.serve.app import create_app
from captionlab.applications.serve.http import ApiError
from captionlab.applications.serve.server import DrainingServer, listen
from captionlab.applications.serve.service import all_or_none
from captionlab.applications.serve.settings import ServeSettings
from serve_support import application, checkpoint, client_of, files_of, picture, serving
from tests_support import HANG

PATH = "/v1/caption"


class Held:
    """An application whose captioner works only while it is let."""

    def __init__(self, **settings: object) -> None:
        self.settings = ServeSettings(**settings)
        self.app = create_app(checkpoint(), self.settings)
        self.service = self.app.state.service
        self.free, self.entered = threading.Event(), threading.Event()
        self.sizes: list[int] = []
        decode = self.service.batcher._run

        def run(key, items):
            self.entered.set()
            self.free.wait(HANG)
            self.sizes.append(len(items))
            return decode(key, items)

        self.service.batcher._run = run

    def wait_for(self, condition) -> None:
        pause = threading.Event()
        for _ in range(HANG * 100):
            if condition():
                return
            pause.wait(0.01)
        raise AssertionError("it did not come about")


def ask(url: str, color: int = 90, **settings: object) -> httpx.Response:
    return httpx.post(
        f"{url}{PATH}", files=files_of(picture(color=color)), timeout=HANG, **settings
    )


def test_requests_that_come_together_are_decoded_together():
    held = Held()
    with client_of(application()) as client:
        alone = [
            client.post(PATH, files=files_of(picture(color=color))).json()["results"]
            for color in range(0, 250, 30)
        ]
    with serving(held.app) as url, ThreadPoolExecutor(10) as pool:
        first = pool.submit(ask, url)
        held.wait_for(held.entered.is_set)
        others = [pool.submit(ask, url, color) for color in range(0, 250, 30)]
        held.wait_for(lambda: len(held.service.batcher) == len(others))
        held.free.set()
        captions = [other.result().json()["results"] for other in others]
        assert first.result().status_code == 200
        figures = httpx.get(f"{url}/metrics").text
    assert held.sizes == [1, len(others)]
    assert captions == alone
    assert f'captionlab_batch_images_bucket{{le="16.0"}} {2.0}' in figures
    assert 'captionlab_requests_total{path="/v1/caption",status="200"} 10.0' in figures


def test_a_full_queue_says_when_to_come_again():
    held = Held(max_queue=2, max_images=4)
    with serving(held.app) as url, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, url)]
        held.wait_for(held.entered.is_set)
        refused = httpx.post(f"{url}{PATH}", files=files_of(*[picture()] * 3), timeout=HANG)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        waiting.append(pool.submit(ask, url))
        held.wait_for(lambda: len(held.service.batcher) == 1)
        assert ask(url).json()["error"]["type"] == "overloaded_error"  # two are being served
        held.free.set()
        assert [one.result().status_code for one in waiting] == [200, 200]
        figures = httpx.get(f"{url}/metrics").text
    assert 'captionlab_rejected_total{reason="queue_full"} 1.0' in figures
    assert 'captionlab_rejected_total{reason="busy"} 1.0' in figures


def test_a_request_has_its_time():
    held = Held(timeout=0.2)
    with serving(held.app) as url:
        answer = ask(url)
        assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout_error")
        held.free.set()
        held.wait_for(lambda: held.service.in_flight == 0)


def test_who_leaves_is_not_served():
    held = Held()
    with serving(held.app) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, url)
        held.wait_for(held.entered.is_set)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}{PATH}", files=files_of(), timeout=httpx.Timeout(HANG, read=0.3))
        held.wait_for(lambda: held.service.in_flight == 1)
        held.free.set()
        assert first.result().status_code == 200
        assert ask(url).status_code == 200
    assert held.sizes == [1, 1]


def test_a_failing_picture_takes_no_other_with_it(monkeypatch):
    held = Held()
    captioning = held.service.captioning
    together = captioning._together

    def fail(method, batch):
        if any(int(asked.image[0, 0, 0]) == 7 for asked in batch):
            raise RuntimeError("out of memory")
        return together(method, batch)

    monkeypatch.setattr(captioning, "_together", fail)
    with serving(held.app) as url, ThreadPoolExecutor(4) as pool:
        first = pool.submit(ask, url)
        held.wait_for(held.entered.is_set)
        others = [pool.submit(ask, url, color) for color in (1, 7, 9)]
        held.wait_for(lambda: len(held.service.batcher) == 3)
        held.free.set()
        assert [one.result().status_code for one in [first, *others]] == [200, 200, 500, 200]


def test_a_refused_request_leaves_no_picture_waiting():
    service = application().state.service
    threads, free = service.settings.image_threads, threading.Event()
    for _ in range(threads):
        service.pool.submit(free.wait, HANG)
    decoded: list[str] = []

    async def refused(name: str) -> None:
        raise ApiError(400, name)

    work = [refused("image"), *(service.in_pool(decoded.append, f"{n}") for n in range(20))]
    with pytest.raises(ApiError):
        asyncio.run(all_or_none(work))
    free.set()
    service.pool.shutdown()
    service.close()
    assert decoded == []


def test_an_end_that_is_asked_for_finishes_what_was_begun():
    held = Held()
    with listen("127.0.0.1", 0) as listening, ThreadPoolExecutor(2) as pool:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = DrainingServer(held.app, held.settings)
        running = pool.submit(server.run, [listening])
        begun = pool.submit(ask, url)
        held.wait_for(held.entered.is_set)
        server.handle_exit(signal.SIGTERM, None)
        ready = httpx.get(f"{url}/ready")
        assert (ready.status_code, "Retry-After" in ready.headers) == (503, True)
        assert ask(url).status_code == 503
        assert httpx.get(f"{url}/health").status_code == 200
        held.free.set()
        assert begun.result().status_code == 200
        running.result(HANG)


def test_figures_count_no_path_that_a_stranger_made_up():
    with client_of(application()) as client:
        for number in range(3):
            client.get(f"/made-up-{number}")
        figures = client.get("/metrics").text
    assert 'path="other",status="404"} 3.0' in figures
    assert "made-up" not in figures


def test_bodies_are_bounded_together():
    held = Held(max_bytes=2_000_000, max_buffered=4_000_000)
    large = picture(1200, 900, "RGB", "BMP")[:1_900_000]
    with serving(held.app) as url, ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, url)
        held.wait_for(held.entered.is_set)
        # the small one is being decoded; two that wait for their pictures hold what may be held
        held.service.bodies._held += 3_000_000
        refused = httpx.post(f"{url}{PATH}", files=files_of(large), timeout=HANG)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        held.service.bodies._held -= 3_000_000
        held.free.set()
        assert first.result().status_code == 200
        held.wait_for(lambda: held.service.bodies._held == 0)
