"""The table as it grows, in Markdown."""

from __future__ import annotations

from typing import TextIO

from measuring.cell import Cell

COLUMNS = {
    "family": 13,
    "operation": 13,
    "images": 6,
    "rate": 17,
    "over own products": 17,
    "over counted FLOP": 17,
    "times REV": 13,
    "times rival": 13,
    "rival": 28,
}


class Table:
    """Writes a row a cell; each number by CPU time, a slash, by wall time."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self._line(list(COLUMNS))
        self._line(["-" * width for width in COLUMNS.values()])

    def add(self, cell: Cell) -> None:
        """Write a cell's row, and its notes under it."""
        work = cell.work
        if work.operation == "cold_start":
            rate = _pair(1 / cell.rate("cpu"), 1 / cell.rate("wall"), 2) + " s"
        else:
            rate = _pair(cell.rate("cpu"), cell.rate("wall"), 1)
        rival = cell.rival + ("" if cell.equal_work else " (other work)")
        self._line(
            [
                work.family,
                work.operation,
                str(work.images),
                rate,
                _both(cell.over, cell, "products"),
                _both(cell.over, cell, "flop"),
                _both(cell.times_as_fast, cell, "against"),
                _both(cell.times_as_fast, cell, "rival"),
                rival,
            ]
        )
        counts = {name: f"{n:,}" for name, n in cell.parameters.items() if n}
        told = [f"parameters {counts}"] if len(set(counts.values())) > 1 else []
        told += [f"{cell.words:.1f} tokens a caption"] if work.realistic and cell.words else []
        told += [f"same captions {cell.same_captions}"] if cell.same_captions else []
        for note in [*told, *cell.notes]:
            self.note(note)

    def note(self, text: str) -> None:
        """Write a line under the rows, which Markdown does not show."""
        self.out.write(f"  <!-- {text} -->\n")
        self.out.flush()

    def _line(self, values: list[str]) -> None:
        widths = COLUMNS.values()
        cells = (value.ljust(width) for value, width in zip(values, widths, strict=True))
        self.out.write("| " + " | ".join(cells) + " |\n")


def _both(ratio: object, cell: Cell, side: str) -> str:
    return _pair(ratio(side, "cpu"), ratio(side, "wall"), 2)  # type: ignore[operator]


def _pair(cpu: float | None, wall: float | None, digits: int) -> str:
    if cpu is None or wall is None:
        return ""
    return f"{cpu:.{digits}f} / {wall:.{digits}f}"
