"""The API holds to its own description."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from serve_support import application, client_of, files_of, uri

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def live():
    with client_of(application()) as client:
        yield client


def test_the_description_names_every_route_with_its_bodies_and_errors(live):
    told = live.get("/openapi.json").json()
    assert set(told["paths"]) >= {
        "/v1/caption",
        "/v1/chat/completions",
        "/v1/models",
        "/health",
        "/ready",
    }
    post = told["paths"]["/v1/caption"]["post"]
    assert set(post["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert {"200", "400", "413", "415", "503", "504"} <= set(post["responses"])
    references = {
        part.split('"')[0] for part in json.dumps(told).split('"#/components/schemas/')[1:]
    }
    assert references <= set(told["components"]["schemas"])


def test_answers_are_what_the_description_says(live):
    told = live.get("/openapi.json").json()
    answers = (
        ("CaptionResponse", live.post("/v1/caption", files=files_of(), data={"attention": "1"})),
        ("ErrorResponse", live.post("/v1/caption", json={})),
        (
            "ChatResponse",
            live.post(
                "/v1/chat/completions",
                json={
                    "messages": [
                        {
                            "role": "user",
                            "content": [{"type": "image_url", "image_url": {"url": uri()}}],
                        }
                    ]
                },
            ),
        ),
    )
    for name, answer in answers:
        schema = {"$ref": f"#/components/schemas/{name}", "components": told["components"]}
        Draft202012Validator(schema).validate(answer.json())


@pytest.mark.slow
def test_no_request_that_schemathesis_makes_up_is_a_mistake_of_the_server():
    app = application(allowed_hosts=("testserver",))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) >= 7
    for operation in operations:

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def answers(case):
            case.call_and_validate(checks=CHECKS)

        answers()
