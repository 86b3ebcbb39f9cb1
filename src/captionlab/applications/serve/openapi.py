"""The description of bodies that are read by hand, added to what FastAPI knows of the routes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from captionlab.applications.serve.chat_schemas import ChatRequest
from captionlab.applications.serve.schemas import CaptionRequest, ErrorResponse, Wishes

REFERENCE = "#/components/schemas/{model}"
FILES = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "The picture, or several: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF.",
}
ERRORS = {
    "400": "A field or a picture is wrong.",
    "401": "The token is missing or wrong.",
    "413": "A picture or the body is too large.",
    "415": "No picture, or another kind of body.",
    "503": "Too much is waiting: come again after Retry-After seconds.",
    "504": "The request took too long.",
}
ALWAYS = ("400", "401", "503")  # of requests without a body too


def describe_requests(app: FastAPI) -> None:
    """Let ``/openapi.json`` tell of the bodies and the errors of every route that captions."""
    of_fastapi = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = of_fastapi()
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for model in (CaptionRequest, ChatRequest, ErrorResponse):
                add_schema(schemas, model)
            schema["paths"]["/v1/caption"]["post"]["requestBody"] = _caption_body()
            schema["paths"]["/v1/chat/completions"]["post"]["requestBody"] = _json_body(ChatRequest)
            for path, operations in schema["paths"].items():
                for method, operation in operations.items():
                    _describe_errors(path, method, operation["responses"])
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def add_schema(schemas: dict[str, Any], model: type[BaseModel]) -> None:
    """Add the schema of a model, and of those inside it, by their names."""
    schema = model.model_json_schema(ref_template=REFERENCE)
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema


def _caption_body() -> dict[str, Any]:
    form = Wishes.model_json_schema()
    form["properties"] = {"image": FILES, **form["properties"]}
    form["required"] = ["image"]
    return {
        "required": True,
        "content": {
            **_json_body(CaptionRequest)["content"],
            "multipart/form-data": {"schema": form},
        },
    }


def _json_body(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _describe_errors(path: str, method: str, responses: dict[str, Any]) -> None:
    """Add the errors of an operation; FastAPI's own 422 is a 400 here."""
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(model="ErrorResponse")}}}
    responses.pop("422", None)
    for status in ERRORS if method == "post" else ALWAYS:
        responses[status] = {"description": ERRORS[status], "content": content}
    if "{" in path:
        responses["404"] = {"description": "There is no such thing.", "content": content}
