"""Values of a stranger as an object of a model, or one sentence."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from captionlab.applications.serve.http import ApiError, first_error
from captionlab.core.errors import did_you_mean

ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(model: type[ModelT], values: Any) -> ModelT:
    """Return values as an object of a model.

    Raises:
        ApiError: with the first thing that is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            field = str(first["loc"][0])
            advice = did_you_mean(field, model.model_fields)
            raise ApiError(400, f"{field}: there is no such field; {advice}", param=field) from None
        raise first_error([first]) from None
