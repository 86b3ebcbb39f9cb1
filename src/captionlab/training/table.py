"""Reading metrics.csv; apart from its writer, so that a reader does not wait for Lightning."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


def read_table(path: Path) -> dict[int, dict[str, Any]]:
    """Return the rows of a metrics.csv by epoch; none where there is no file."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            int(row.pop("epoch")): {k: v for k, v in row.items() if v != ""}
            for row in csv.DictReader(file)
        }
