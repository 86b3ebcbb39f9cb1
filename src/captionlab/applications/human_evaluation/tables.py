"""Results as tables: on the terminal, and as CSV, Markdown or LaTeX for a paper."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from captionlab.applications.endpoint.answers import clean
from captionlab.applications.human_evaluation.analysis import Estimate, JudgeResult, Results
from captionlab.core.errors import UserError
from captionlab.core.files import replacing

NOTE = (
    "Strength: log strength of Davidson's (1970) Bradley-Terry model with ties, mean 0, half an "
    "outcome added to each of a pair. Win rate: a tie counts half. Intervals: 95 %, bootstrap over "
    "images. Repeated pairs count for consistency alone."
)
LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {sign: f"\\{sign}" for sign in "&%$#_{}"}
)
ENDINGS = (".csv", ".md", ".tex")


class TableOfResults(NamedTuple):
    """A title, a header, and rows of texts."""

    title: str
    header: list[str]
    rows: list[list[str]]


def tables(results: Results) -> list[TableOfResults]:
    """Return the tables of results: systems, pairs, agreement, judges; each cell is a clean line."""
    return [
        TableOfResults(title, header, [[clean(cell, None) for cell in row] for row in rows])
        for title, header, rows in _tables(results)
    ]


def _tables(results: Results) -> list[TableOfResults]:
    rated = [what for what in ("correctness", "fluency")
             if any(what in one.ratings for one in results.systems)]  # fmt: skip
    systems = TableOfResults(
        f"{results.judgments:,} judgments of {results.images:,} images",
        ["system", "wins", "ties", "losses", "win rate", "strength", *rated],
        [
            [
                one.name,
                *map(str, (one.wins, one.ties, one.losses)),
                _percent(one.win_rate),
                _shown(one.strength),
                *(_shown(one.ratings[what]) if what in one.ratings else "-" for what in rated),
            ]
            for one in results.systems
        ],
    )
    pairs = TableOfResults(
        "Pairs",
        ["system", "against", "wins", "ties", "losses", "win rate"],
        [
            [one.a, one.b, *map(str, (one.wins, one.ties, one.losses)), _percent(one.win_rate)]
            for one in results.pairs
        ],
    )
    agreement = TableOfResults(
        "Agreement (Krippendorff's alpha)",
        ["of", "level", "alpha", "judged twice"],
        [[one.what, one.level, _shown(one.alpha), f"{one.units:,}"] for one in results.agreement],
    )
    judges = TableOfResults(
        "Judges",
        ["judge", "judgments", "equal", "left", "agrees", "repeats", "consistent", "seconds"],
        [_judge(one) for one in results.judges],
    )
    return [systems, pairs, agreement, judges]


def _judge(one: JudgeResult) -> list[str]:
    return [
        one.judge,
        str(one.judgments),
        *map(_share, (one.equal, one.left, one.agreement)),
        str(one.repeats),
        _share(one.consistent),
        "-" if one.seconds is None else f"{one.seconds:.1f}",
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _shown(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _percent(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    value, low, high = (100 * one for one in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def write_table(results: Results, file: Path) -> None:
    """Write the table of the systems, and in Markdown all tables.

    Raises:
        UserError: for another ending than .csv, .md or .tex.
    """
    found = tables(results)
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        raise UserError(f"--table {file}: say FILE.csv, FILE.md or FILE.tex")
    if ending == ".csv":
        text = _csv(results)
    elif ending == ".md":
        text = "\n".join(_markdown(table) for table in found) + f"\n{NOTE}\n"
    else:
        text = _latex(found[0])
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _csv(results: Results) -> str:
    written = io.StringIO(newline="")
    table = csv.writer(written)
    rated = ("correctness", "fluency")
    names = ("win_rate", "strength", *rated)
    bounds = [f"{name}{part}" for name in names for part in ("", "_low", "_high")]
    table.writerow(["system", "wins", "ties", "losses", *bounds])
    missing = Estimate(math.nan, math.nan, math.nan)
    for one in results.systems:
        ratings = [one.ratings.get(what, missing) for what in rated]
        estimates = [one.win_rate, one.strength, *ratings]
        numbers = [number for each in estimates for number in (each.value, each.low, each.high)]
        cells = ["" if math.isnan(number) else f"{number:.4f}" for number in numbers]
        table.writerow([_no_formula(one.name), one.wins, one.ties, one.losses, *cells])
    return written.getvalue()


def _no_formula(text: str) -> str:
    text = clean(text, None)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _markdown(table: TableOfResults) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = line(["---"] * len(table.header))
    return "\n".join(
        [f"**{table.title}**", "", line(table.header), rule, *map(line, table.rows), ""]
    )


def _latex(table: TableOfResults) -> str:
    def line(cells: Sequence[str]) -> str:
        return "  " + " & ".join(cell.translate(LATEX) for cell in cells) + r" \\"

    columns = "l" + "r" * (len(table.header) - 1)
    return "\n".join(
        [
            f"% {table.title}. {NOTE}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"  \toprule",
            line(table.header),
            r"  \midrule",
            *map(line, table.rows),
            r"  \bottomrule",
            r"\end{tabular}",
            "",
        ]
    )
