"""``POST /v1/caption`` and ``GET /v1/models``."""

import io
import json

import pytest
from PIL import Image

from captionlab.applications.serve.app import create_app
from captionlab.applications.serve.settings import ServeSettings
from captionlab.decoding import Beam
from captionlab.metrics.calibration import Calibration
from captionlab.text.prompts import ANSWER, LANGUAGE, STYLE
from serve_support import (
    application,
    checkpoint,
    client_of,
    files_of,
    picture,
    small_captioner,
    uri,
)

PATH = "/v1/caption"
CONTROLS = (LANGUAGE.format("en"), LANGUAGE.format("zh"), STYLE.format("terse"), ANSWER)


def test_a_form_and_json_give_what_predict_gives(client, tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture(color=200))
    expected = checkpoint()(photo)
    form = client.post(PATH, files=files_of(picture(color=200)))
    json = client.post(PATH, json={"image": uri(picture(color=200))})
    assert form.status_code == json.status_code == 200, form.text
    (result,) = form.json()["results"]
    assert result["captions"][0]["caption"] == expected
    assert json.json()["results"] == form.json()["results"]
    assert form.json()["timings"]["total_ms"] > 0


def test_several_pictures_come_back_in_their_order(client):
    pictures = [picture(color=color) for color in (0, 120, 255)]
    alone = [client.post(PATH, files=files_of(one)).json()["results"][0] for one in pictures]
    form = client.post(PATH, files=files_of(*pictures)).json()["results"]
    json = client.post(PATH, json={"images": [uri(one) for one in pictures]}).json()["results"]
    texts = [[caption["caption"] for caption in one["captions"]] for one in alone]
    for results in (form, json):
        assert [[c["caption"] for c in one["captions"]] for one in results] == texts


def test_words_are_those_of_the_caption_with_attention_where_asked(client):
    caption = client.post(PATH, files=files_of(), data={"attention": "true"}).json()["results"][0][
        "captions"
    ][0]
    assert " ".join(word["word"] for word in caption["words"]) == caption["caption"]
    for word in caption["words"]:
        assert 0 < word["confidence"] <= 1
        assert sum(map(sum, word["attention"])) == pytest.approx(1, abs=0.02)
    plain = client.post(PATH, files=files_of()).json()["results"][0]["captions"][0]
    assert all(word["attention"] is None for word in plain["words"])


def test_methods_and_their_settings(client):
    for fields, count in (
        ({"decoding": "greedy"}, 1),
        ({"num_captions": 3}, 3),
        ({"decoding": "beam", "beam_size": 4, "num_captions": 2}, 2),
        ({"decoding": "sampling", "num_captions": 4, "temperature": 1.5, "top_k": 5}, 4),
        ({"forced_words": ["circle", "red"]}, 1),
    ):
        answer = client.post(PATH, json={"image": uri(), **fields})
        assert answer.status_code == 200, answer.text
        captions = answer.json()["results"][0]["captions"]
        assert len(captions) == count, fields
        assert captions == sorted(captions, key=lambda one: -one["score"])
    assert {"circle", "red"} <= set(captions[0]["caption"].split())


def test_a_seed_repeats_captions_whatever_comes_beside(client):
    fields = {"decoding": "sampling", "seed": 7, "num_captions": 2}
    alone = client.post(PATH, json={"image": uri(), **fields}).json()["results"]
    beside = client.post(PATH, json={"images": [uri(), uri(picture(color=3))], **fields}).json()
    other = client.post(PATH, json={"image": uri(), **fields, "seed": 8}).json()["results"]
    assert beside["results"][0] == alone[0]
    assert other != alone


def test_a_caption_goes_on_from_given_words(client):
    answer = client.post(PATH, json={"image": uri(), "begin": "a red circle"}).json()
    caption = answer["results"][0]["captions"][0]
    assert caption["caption"].startswith("a red circle")
    assert [word["given"] for word in caption["words"]][:4] == [True, True, True, False]


def test_questions_styles_and_languages_where_they_were_learned():
    with client_of(application(small_captioner(*CONTROLS))) as client:
        learned = client.get("/v1/models").json()["data"][0]["captionlab"]
        assert (learned["questions"], learned["styles"]) == (True, ["terse"])
        assert learned["languages"] == ["en", "zh"]
        fields = {"question": "what color is the circle", "style": "terse", "language": "zh"}
        assert client.post(PATH, json={"image": uri(), **fields}).status_code == 200
        wrong = client.post(PATH, json={"image": uri(), "style": "ters"})
        assert wrong.status_code == 400
        assert "did you mean 'terse'?" in wrong.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "param", "part"),
    [
        ({"num_captions": 0}, "num_captions", "greater than or equal to 1"),
        ({"num_captions": 17}, "num_captions", "16 captions"),
        ({"decoding": "best"}, "decoding", "'greedy', 'beam' or 'sampling'"),
        ({"beam_size": 65}, "beam_size", "64 are the most"),
        ({"beam_size": 40, "forced_words": ["red"]}, "beam_size", "80 hypotheses"),
        ({"decoding": "greedy", "num_captions": 2}, "num_captions", "say decoding=beam"),
        ({"decoding": "greedy", "top_k": 3}, "top_k", "is of decoding=sampling"),
        ({"temperature": float("1e400")}, "temperature", "finite"),
        ({"forced_words": ["zebra"]}, "forced_words", "not one word of this vocabulary"),
        ({"question": "what red"}, "question", "trained without questions"),
        ({"begin": "zebra"}, "begin", "does not know the word 'zebra'"),
        ({"begin": "a" * 3000}, "begin", "at most 500"),
        ({"pictures": 1}, "pictures", "no such field"),
        ({"num_caption": 1}, "num_caption", "did you mean 'num_captions'?"),
        ({"images": []}, "images", "give one of them"),
        ({"image": None}, "image", "there is none"),
        ({"image": "photo.png"}, "image", "must be a data URI"),
        ({"image": "/etc/passwd"}, "image", "must be a data URI"),
        ({"image": "file:///etc/passwd"}, "image", "must be a data URI"),
        ({"image": "http://127.0.0.1/x.png"}, "image", "--allow-urls"),
        ({"image": "data:image/png;base64,!!!"}, "image", "no base64"),
        ({"begin": "\ud800"}, "begin", "unicode"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(client, fields, param, part):
    body = json.dumps({"image": uri(), **fields})
    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    error = answer.json()["error"]
    assert answer.status_code == 400, answer.text
    assert (error["param"], part in error["message"]) == (param, True), error
    assert "\n" not in error["message"]


def test_what_is_read_of_forms():
    with client_of(application(max_images=2)) as client:
        empty_fields = {"begin": "", "style": "", "num_captions": "", "attention": "false"}
        assert client.post(PATH, files=files_of(), data=empty_fields).status_code == 200
        for sent, status in (
            ({"files": files_of(picture(), picture(), picture())}, 413),
            ({"data": {"begin": "a"}, "files": [("other", ("x", b"1"))]}, 400),
            ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
            ({"content": b"x", "headers": {"Content-Type": "image/png"}}, 415),
            ({"content": b""}, 415),
            ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ):
            assert client.post(PATH, **sent).status_code == status, sent


def test_a_calibrated_captioner_tells_its_chance_of_being_right():
    calibration = Calibration("log_odds", 50.0, 0.5)
    settings = ServeSettings(abstain=0.6)
    with client_of(create_app(checkpoint(), settings, calibration)) as client:
        about = client.get("/v1/models").json()["data"][0]["captionlab"]
        assert (about["calibrated"], about["abstain"]) == (True, 0.6)
        caption = client.post(PATH, files=files_of()).json()["results"][0]["captions"][0]
        assert 0 < caption["probability"] < 1


def test_forms_are_those_of_files_of(client):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(
        file, "GIF", save_all=True, append_images=[Image.new("L", (8, 8))]
    )
    assert client.post(PATH, files=files_of(file.getvalue())).status_code == 200


def test_models_are_listed_as_openai_lists_them(client):
    listed = client.get("/v1/models").json()
    (entry,) = listed["data"]
    assert (listed["object"], entry["object"]) == ("list", "model")
    assert client.get(f"/v1/models/{entry['id']}").json() == entry
    assert client.get("/v1/models/gpt-4o").status_code == 404
    told = entry["captionlab"]
    assert (told["beginning"], told["attention"], told["fit"]) == (True, True, "stretch")


def test_a_captioners_own_beam_is_kept():
    loaded = checkpoint()
    loaded.decoding = Beam(beam_size=2, max_length=4)
    with client_of(application(loaded)) as client:
        answer = client.post(PATH, json={"image": uri(), "num_captions": 2}).json()
        assert all(len(c["words"]) <= 4 for c in answer["results"][0]["captions"])
