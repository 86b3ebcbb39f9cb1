"""Values of a stranger as an object of a model, or one sentence."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from captionlab.applications.serve.http import first_error

ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(model: type[ModelT], values: Any) -> ModelT:
    """Return values as an object of a model.

    Raises:
        ApiError: with the first thing that is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise first_error(error.errors(include_url=False)) from None
