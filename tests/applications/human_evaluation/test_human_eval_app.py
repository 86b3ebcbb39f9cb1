import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from captionlab.applications.human_evaluation.app import create_app
from captionlab.applications.human_evaluation.study import Study

BASE = "http://127.0.0.1:8000"


@pytest.fixture
def study(new_study: Callable[..., Study]) -> Study:
    return new_study(rates=True)


@pytest.fixture
def client(study: Study, folder: Path) -> TestClient:
    return TestClient(create_app(study, folder), base_url=BASE)


def deal(client: TestClient, judge: str = "Ann") -> dict:
    return client.post("/api/next", json={"person": judge}).json()["pair"]


def answer(client: TestClient, token: str, **more: object) -> tuple[int, dict]:
    body = {"person": "Ann", "token": token, "choice": "left", "key": "key-00001", **more}
    response = client.post("/api/answers", json=body)
    return response.status_code, response.json()


def test_an_answer_is_kept_before_it_is_confirmed(client: TestClient, study: Study):
    pair = deal(client)
    assert answer(client, pair["token"], correctness_left=5, fluency_right=1)[0] == 200
    (one,) = study.judgments()
    assert {one.system_a: one.caption_a, one.system_b: one.caption_b}[one.left] == pair["left"]
    assert one.choice == one.left
    assert answer(client, pair["token"], key="key-00002", choice="equal")[0] == 200
    again = client.get(f"/api/pairs/{pair['token']}").json()["pair"]
    assert again["answer"]["choice"] == "equal"


def test_nothing_that_a_browser_gets_names_a_system_or_a_repetition(client: TestClient):
    got = [client.get(path).text for path in ("/", "/page/judge.js", "/page/session.js")]
    keys = set()
    for number in range(14):
        response = client.post("/api/next", json={"person": "Ann"})
        pair = response.json()["pair"]
        if pair is None:
            break
        keys.add(tuple(pair))
        got += [response.text, str(response.headers)]
        image = client.get(f"/api/pairs/{pair['token']}/image")
        got.append(str(image.headers))
        got.append(str(answer(client, pair["token"], key=f"key-{number:05}")))
    everything = "\n".join(got)
    assert number >= 12
    assert keys == {("token", "left", "right", "answer")}
    assert not re.search(r"secret|run-|system_|swapped|\.sqlite|\.png", everything)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"token": "no-such"}, 404),
        ({"person": "Ben"}, 403),
        ({"choice": "a"}, 400),
        ({"correctness_left": 6}, 400),
        ({"correctness_left": True}, 400),
        ({"system": "a"}, 400),
        ({"key": ""}, 400),
        ({"person": ""}, 400),
    ],
)
def test_what_makes_no_sense_is_refused(client: TestClient, study: Study, wrong, status):
    token = deal(client)["token"]
    found, body = answer(client, **{"token": token, **wrong})
    assert found == status, body
    assert study.judgments() == []


def test_ratings_are_refused_where_none_are_asked(new_study, folder: Path):
    client = TestClient(create_app(new_study(), folder), base_url=BASE)
    assert answer(client, deal(client)["token"], fluency_left=3)[0] == 400
    assert client.get("/api/pairs/..%2F..%2Fx/image").status_code == 404
