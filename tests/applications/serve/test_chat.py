"""OpenAI's chat completions, asked by OpenAI's own client over a live connection."""

import json
from collections.abc import Iterator

import openai
import pytest

from captionlab.applications.serve.captioning import Captioning
from captionlab.applications.serve.chat import meaning
from captionlab.applications.serve.settings import ServeSettings
from captionlab.cli.main import main
from captionlab.text.prompts import ANSWER
from serve_support import application, checkpoint, picture, serving, small_captioner, uri

TOKEN = "a-token-of-the-tests"


def messages(*texts: str, image: str | None = None, role: str = "user") -> list[dict]:
    parts = [{"type": "image_url", "image_url": {"url": image or uri()}}]
    parts += [{"type": "text", "text": text} for text in texts]
    return [{"role": role, "content": parts}]


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with serving(application(token=TOKEN)) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0)


def test_openais_client_gets_the_caption(client):
    (model,) = client.models.list().data
    answer = client.chat.completions.create(model=model.id, messages=messages())
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert len(choice.message.content.split()) > 2
    assert (answer.model, answer.object) == (model.id, "chat.completion")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert client.models.retrieve(model.id).id == model.id


def test_several_captions_and_random_ones(client):
    create = client.chat.completions.create
    for settings in ({}, {"temperature": 1.2, "seed": 3}, {"temperature": 0}):
        answer = create(model="m", messages=messages(), n=3, **settings)
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
    seeded = [
        [
            c.message.content
            for c in create(model="m", messages=messages(), n=2, temperature=1.0, seed=-5).choices
        ]
        for _ in range(2)
    ]
    assert seeded[0] == seeded[1]


def test_a_stream_is_the_same_caption_word_by_word(client):
    whole = client.chat.completions.create(model="m", messages=messages(), n=2)
    stream = client.chat.completions.create(
        model="m", messages=messages(), n=2, stream=True, stream_options={"include_usage": True}
    )
    texts, finished, usage = ["", ""], [], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finished += [choice.finish_reason] if choice.finish_reason else []
    assert texts == [choice.message.content for choice in whole.choices]
    assert (len(finished), usage.total_tokens) == (2, whole.usage.total_tokens)


def test_a_short_answer_says_so(client):
    answer = client.chat.completions.create(model="m", messages=messages(), max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert len(answer.choices[0].message.content.split()) == 2


def test_what_a_text_is_taken_for(client):
    create = client.chat.completions.create
    begun = create(model="m", messages=messages("a red"))
    assert begun.choices[0].message.content.startswith("a red")
    plain = create(model="m", messages=messages()).choices[0].message.content
    asked = create(model="m", messages=messages("Describe this image in detail."))
    assert asked.choices[0].message.content == plain
    ignored = create(
        model="m", messages=messages("a red"), extra_body={"captionlab": {"text": "ignore"}}
    )
    assert ignored.choices[0].message.content == plain


@pytest.mark.parametrize(
    ("text", "controls", "expected"),
    [
        ("", (), "ignore"),
        ("a red", (), "beginning"),
        ("a red circle.", (), "ignore"),
        ("a zebra", (), "ignore"),
        ("what color is the circle", (ANSWER,), "question"),
    ],
)
def test_what_a_text_means_follows_from_what_was_learned(text, controls, expected):
    captioning = Captioning(small_captioner(*controls), ServeSettings())
    assert meaning(text, captioning) == expected


def test_a_question_is_answered():
    with serving(application(small_captioner(ANSWER))) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        answer = client.chat.completions.create(
            model="m", messages=messages("what color is the circle")
        )
        assert answer.to_dict()["captionlab"] == {"text": "question"}
        with pytest.raises(openai.BadRequestError, match="knows none of its words"):
            client.chat.completions.create(model="m", messages=messages("zebra"))


def test_the_last_picture_and_the_last_text_count(client):
    create = client.chat.completions.create
    conversation = [
        {"role": "system", "content": "You are helpful."},
        *messages("a blue"),
        {"role": "assistant", "content": "a blue square"},
        {"role": "user", "content": "a red"},
    ]
    assert create(model="m", messages=conversation).choices[0].message.content.startswith("a red")


def test_openais_client_raises_its_own_errors(client):
    create = client.chat.completions.create
    two = messages()[0]["content"] * 2
    for wrong, part in (
        ([{"role": "user", "content": "a picture?"}], "no picture"),
        ([{"role": "user", "content": two}], "several pictures"),
        (messages(image="http://169.254.169.254/latest"), "fetches no addresses"),
        (messages(image="data:image/png;base64,AAAA"), None),
    ):
        with pytest.raises(openai.APIStatusError, match=part) as caught:
            create(model="m", messages=wrong)
        assert caught.value.status_code in (400, 415)
        assert caught.value.body["type"] == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="num_captions"):
        create(model="m", messages=messages(), n=1000)
    stranger = openai.OpenAI(base_url=str(client.base_url), api_key="another", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="wants its token"):
        stranger.models.list()


def test_captionlabs_own_client_gets_the_captions_of_the_checkpoint(tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture(224, 224))
    out = tmp_path / "out.jsonl"
    with serving(application()) as url:
        server = ["--endpoint", f"{url}/v1", "--model", "attn_lstm"]
        with pytest.raises(SystemExit) as ended:
            main(["predict", *server, str(photo), "--out", str(out)])
    assert ended.value.code == 0
    assert json.loads(out.read_text())["caption"] == checkpoint()(photo)
