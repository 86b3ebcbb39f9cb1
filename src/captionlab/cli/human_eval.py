"""Human evaluation: the page on which people compare, and what their judgments come to."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from captionlab.cli.page_options import page_address
from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError
from captionlab.core.files import require_file_place

if TYPE_CHECKING:
    from captionlab.applications.human_evaluation.judgments import Judgment
    from captionlab.applications.human_evaluation.study import Study


def human_eval(options: argparse.Namespace) -> int:
    """Serve the page, or print results; return 0.

    Raises:
        UserError: if a file, the folder, the store, a setting or the address is wrong.
    """
    wants_results = options.results or options.judgments or options.csv or options.table
    if wants_results:
        if options.systems:
            raise UserError(
                "results are of judgments, in --store or --from: leave the captions out"
            )
        _results(options)
        return 0
    if options.store is None or options.images is None:
        raise UserError("say --images FOLDER, and --store FILE.sqlite for the answers")
    folder = Path(options.images)
    study = _study(options, folder)
    try:
        _serve(study, folder, options)
    finally:
        study.close()
    return 0


def _study(options: argparse.Namespace, folder: Path) -> Study:
    """Return the study of the store, set up first where files of captions are named."""
    from captionlab.applications.human_evaluation.study import Settings, Study
    from captionlab.applications.human_evaluation.systems import read_systems, shared_pictures
    from captionlab.applications.picture_views import pictures_below

    require_local(options.images)
    pictures = set(pictures_below(folder))
    if not options.systems:
        study = Study(Path(options.store))
        missing = sorted(study.images() - pictures)
        if missing:
            study.close()
            raise UserError(
                f"{folder} lacks {len(missing):,} pictures of the study: {missing[0]} ..."
            )
        return study
    settings = Settings(options.seed, options.repeat, options.judges_per_pair, options.ratings)
    _require_settings(settings.repeat_share, settings.judges_per_pair, options.limit)
    systems = read_systems([Path(file) for file in options.systems], folder, options.names)
    images = shared_pictures(systems)
    if options.limit is not None and options.limit < len(images):
        images = sorted(random.Random(options.seed).sample(images, options.limit))
    study = Study(Path(options.store), new=True)
    study.set_up(systems, images, settings)
    return study


def _require_settings(share: float, judges: int, limit: int | None) -> None:
    if not 0 <= share <= 1:
        raise UserError(f"--repeat {share} is no share from 0 to 1")
    if not 0 <= judges <= 1_000_000:
        raise UserError(f"--judges-per-pair {judges} is no number of people")
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit} must be at least 1")


def _serve(study: Study, folder: Path, options: argparse.Namespace) -> None:
    address = page_address(options)
    from captionlab.applications.human_evaluation.app import create_app
    from captionlab.applications.local_pages import run_app

    same, asked = study.identical(), study.images(asked=True)
    if not asked:
        raise UserError("all systems say the same of every picture: there is nothing to judge")
    note = f" ({same:,} pairs are the same caption twice: nobody is asked)" if same else ""
    run_app(
        create_app(study, folder, address),
        address,
        lambda url: print(
            f"{len(asked):,} pictures to judge{note}: {url}\nkept in {study.path}; Ctrl-C ends it",
            flush=True,
        ),
    )


def _results(options: argparse.Namespace) -> None:
    from captionlab.applications.human_evaluation.analysis import analyze
    from captionlab.applications.human_evaluation.judgments import write_judgments
    from captionlab.applications.human_evaluation.tables import NOTE, tables, write_table

    for file, option in ((options.csv, "--csv "), (options.table, "--table ")):
        if file is not None:
            require_file_place(file, option)
    judgments = _judgments(options)
    results = analyze(judgments, seed=options.seed)
    if options.table is not None:
        write_table(results, Path(options.table))
    if options.csv is not None:
        write_judgments(judgments, Path(options.csv))
    console = Console()
    for found in tables(results):
        shown = Table(title=escape(found.title), title_justify="left", title_style="bold")
        for number, name in enumerate(found.header):
            shown.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
        for row in found.rows:
            shown.add_row(*map(escape, row))
        console.print(shown)
    console.print(escape(NOTE))
    if len(results.groups) > 1:
        groups = "; ".join(", ".join(group) for group in results.groups)
        print(
            f"note: nobody compared systems of one group with those of another ({groups}): their strengths "
            "say nothing about each other",
            file=sys.stderr,
        )


def _judgments(options: argparse.Namespace) -> Sequence[Judgment]:
    from captionlab.applications.human_evaluation.judgments import read_judgments
    from captionlab.applications.human_evaluation.study import Study

    if (options.judgments is None) == (options.store is None):
        raise UserError("results are of one place: --store FILE.sqlite, or --from FILE.csv")
    if options.judgments is not None:
        return read_judgments(Path(options.judgments))
    study = Study(Path(options.store))
    try:
        return study.judgments()
    finally:
        study.close()
