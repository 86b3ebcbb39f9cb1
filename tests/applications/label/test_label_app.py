import io
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from captionlab.applications.label.app import Labeling, create_app
from captionlab.applications.label.proposals import Proposer
from captionlab.applications.label.store import LabelStore, NewAction
from captionlab.applications.local_pages import Address

BASE = "http://127.0.0.1:8000"


@pytest.fixture
def client(folder: Path, store: LabelStore) -> TestClient:
    return TestClient(create_app(Labeling(folder, store)), base_url=BASE)


def action(**more: object) -> dict[str, object]:
    return {"person": "Ann", "picture": 1, "kind": "add", "key": "key-00001", **more}


def test_an_action_is_in_the_file_when_it_is_answered(client: TestClient, store: LabelStore):
    answer = client.post("/api/actions", json=action(caption="  a\ndog "))
    assert answer.status_code == 200
    assert answer.json()["picture"]["captions"][0]["text"] == "a dog"
    other = sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)
    row = other.execute("SELECT person, kind, caption FROM actions").fetchall()
    other.close()
    assert row == [("Ann", "add", "a dog")]


def test_deal_label_undo(client: TestClient):
    first = client.post("/api/next", json={"person": "Ann"}).json()["picture"]
    assert (first["number"], first["name"], first["status"]) == (1, "a.png", "open")
    assert client.post("/api/next", json={"person": "Ben"}).json()["picture"]["number"] == 2
    client.post("/api/actions", json=action(kind="nothing_true"))
    after = client.post("/api/next", json={"person": "Ann"}).json()
    assert after["picture"]["number"] == 3
    assert after["progress"] == {"pictures": 4, "captioned": 0, "nothing_true": 1, "open": 3}
    undone = client.post("/api/undo", json={"person": "Ann", "key": "undo-0001"}).json()
    assert (undone["undone"], undone["picture"]["status"]) == ("nothing_true", "open")
    assert client.post("/api/undo", json={"person": "Cem", "key": "undo-0002"}).json() == {
        "undone": None,
        "caption": None,
        "picture": None,
        "progress": {"pictures": 4, "captioned": 0, "nothing_true": 0, "open": 4},
    }


def test_people_at_once_lose_nothing(client: TestClient, store: LabelStore):
    def post(number: int) -> int:
        sent = action(caption=f"caption {number}", key=f"key-{number:05}", person=f"P{number % 4}")
        return client.post("/api/actions", json=sent).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(60))) == {200}
    assert sorted(store.state(1).texts()) == sorted(f"caption {number}" for number in range(60))


@pytest.mark.parametrize(
    ("wrong", "status", "message"),
    [
        ({"caption": ""}, 400, "caption"),
        ({}, 400, "caption"),
        ({"caption": 5}, 400, "caption"),
        ({"caption": "x" * 3000}, 400, "2,000 are the most"),
        ({"caption": "a", "picture": 99}, 404, "no picture 99"),
        ({"caption": "a", "picture": 2**70}, 400, "picture"),
        ({"caption": "a", "picture": True}, 400, "picture"),
        ({"caption": "a", "kind": "undo"}, 400, "kind"),
        ({"caption": "a", "person": " "}, 400, "name is empty"),
        ({"caption": "a", "key": "../x"}, 400, "key"),
        ({"caption": "a", "more": 1}, 400, "more"),
        ({"caption": "a", "kind": "skip"}, 400, "skip takes none"),
        ({"kind": "remove"}, 400, "say which caption"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_kept(
    client: TestClient, store: LabelStore, wrong: dict, status: int, message: str
):
    answer = client.post("/api/actions", json=action(**wrong))
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]
    assert store.actions() == []


def test_half_characters_and_controls_do_no_harm(client: TestClient, store: LabelStore):
    raw = b'{"person": "A", "picture": 1, "kind": "add", "key": "key-00001", "caption": "\\ud800 dog"}'
    answer = client.post("/api/actions", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert store.actions() == []
    sent = action(person="A\u0007nn", caption="a \u202edog\x00 runs")
    (caption,) = client.post("/api/actions", json=sent).json()["picture"]["captions"]
    assert (caption["text"], caption["person"]) == ("a dog runs", "A nn")


def test_a_full_disk_is_said_and_nothing_is_claimed(client: TestClient, store: LabelStore):
    store._connection.execute("PRAGMA max_page_count=1")
    for number in range(50):
        sent = action(caption="x" * 1900, key=f"key-{number:05}")
        answer = client.post("/api/actions", json=sent)
        if answer.status_code != 200:
            break
    assert answer.status_code == 503
    assert "make room on the disk" in answer.json()["error"]["message"]
    assert str(store.path) not in answer.text
    assert len(store.state(1).captions) == number


def test_pictures_are_encoded_again_and_named_by_number_alone(folder: Path, store: LabelStore):
    (folder / "page.png").write_text("<html><script>alert(1)</script></html>")
    photo = Image.new("RGB", (60, 40), "red")
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    photo.save(folder / "a.png", "JPEG", exif=exif)
    store.add_pictures([*store.present.values(), "page.png"])
    client = TestClient(create_app(Labeling(folder, store)), base_url=BASE)
    answer = client.get("/api/pictures/1/image")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert b"secret" not in answer.content
    assert Image.open(io.BytesIO(answer.content)).size == (60, 40)
    broken = client.get("/api/pictures/5/image")
    assert broken.status_code == 404
    assert str(folder) not in broken.text
    for path in ("/api/pictures/a.png/image", "/api/pictures/../a.png", "/labels.sqlite"):
        assert client.get(path).status_code in (400, 404)
    for path in ("/page/..%2Fapp.py", "/page/app.py", "/page/%2Fetc%2Fpasswd"):
        assert client.get(path).status_code == 404


def test_a_link_that_comes_to_lead_out_is_not_followed(client: TestClient, folder: Path):
    Image.new("RGB", (8, 8)).save(folder.parent / "outside.png")
    (folder / "b.png").unlink()
    (folder / "b.png").symlink_to(folder.parent / "outside.png")
    answer = client.get("/api/pictures/2/image")
    assert answer.status_code == 400
    assert "leads out of the folder" in answer.json()["error"]["message"]


def test_strangers_do_not_get_in(folder: Path, store: LabelStore):
    app = create_app(Labeling(folder, store), Address.with_token("0.0.0.0", 8000, [], None))
    client = TestClient(app, base_url=BASE)
    assert client.get("/").status_code == 200
    assert client.get("/api/session").status_code == 401
    assert client.get("/api/pictures/1/image").status_code == 401
    local = TestClient(create_app(Labeling(folder, store)), base_url=BASE)
    assert local.get("/api/session", headers={"Host": "evil.example"}).status_code == 400
    evil = {"Origin": "https://evil.example"}
    assert local.post("/api/next", json={"person": "x"}, headers=evil).status_code == 403
    assert local.post("/api/next", content=b"x" * 2**17).status_code == 413


class Fake:
    """Proposes a caption for each picture; notes what it looked at."""

    def __init__(self, *, fails: bool = False) -> None:
        self.seen: list[str] = []
        self.fails = fails

    def prepare(self, image: Path) -> torch.Tensor:
        self.seen.append(image.name)
        return torch.zeros(3, 4, 4)

    def captions(self, images: torch.Tensor) -> list[list[tuple[str, float]]]:
        if self.fails:
            raise RuntimeError("out of memory")
        return [[("a dog", -1.0), ("a\ncat", -2.0)] for _ in images]


def test_proposals_are_made_ahead_and_once(folder: Path, store: LabelStore):
    fake = Fake()
    for _ in range(2):  # a second server finds what the first one kept
        proposer = Proposer(store, folder, fake, "fake-1")
        proposer.start()
        while store.without_proposals("fake-1", 10):
            proposer.join(0.01)
        proposer.stop()
    assert sorted(fake.seen) == ["a.png", "b.png", "c.png", "d.png"]
    client = TestClient(create_app(Labeling(folder, store, proposer)), base_url=BASE)
    picture = client.get("/api/pictures/4").json()["picture"]
    assert [one["caption"] for one in picture["proposals"]] == ["a dog", "a cat"]
    assert picture["pending"] is False


def test_done_pictures_are_not_looked_at_unless_asked(folder: Path, store: LabelStore):
    store.act([NewAction(1, "Ann", "add", "key-1", "a dog")])
    fake = Fake()
    proposer = Proposer(store, folder, fake, "fake-1")
    assert proposer._next() == [2, 3, 4]
    proposer.ask(1)
    assert proposer._next() == [1, 2, 3, 4]


def test_labeling_goes_on_when_the_model_fails(folder: Path, store: LabelStore):
    proposer = Proposer(store, folder, Fake(fails=True), "fake-1")
    proposer.start()
    proposer.join()
    client = TestClient(create_app(Labeling(folder, store, proposer)), base_url=BASE)
    assert client.get("/api/session").json()["failure"] == "out of memory"
    assert client.post("/api/next", json={"person": "Ann"}).json()["picture"]["pending"] is False
