"""What tables of runs are made of: metrics.csv read, settings flattened; no Lightning is waited for."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionlab.core.config_types import Config, MutableConfig
from captionlab.core.errors import UserError

Row = dict[str, Any]  # the values of an epoch: text where they were read, else numbers


def read_table(path: Path) -> dict[int, Row]:
    """Return the rows of a metrics.csv by epoch; none where there is no file.

    Raises:
        UserError: if it is no table with a column of epochs.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                int(row.pop("epoch")): {k: v for k, v in row.items() if k and v not in ("", None)}
                for row in csv.DictReader(file)
            }
    except (csv.Error, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is no table of epochs: {error}") from None


def flatten(config: Config, prefix: str = "") -> MutableConfig:
    """Return nested settings as one level of dotted keys; a list stays a value."""
    flat: MutableConfig = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat
