"""From judgments to results: CSV in and out, preferences, agreement, judges, tables."""

import csv
from pathlib import Path

import numpy as np
import pytest

from captionlab.applications.human_evaluation.analysis import analyze
from captionlab.applications.human_evaluation.judgments import (
    Judgment,
    read_judgments,
    write_judgments,
)
from captionlab.applications.human_evaluation.tables import tables, write_table
from captionlab.cli.main import main
from captionlab.core.errors import UserError
from human_evaluation_support import judge_all, prefers_alpha


def judgment(image: int, choice: str, judge: str = "Ann", **more) -> Judgment:
    return Judgment(judge, f"{image}.png", "a", "b", choice, **more)


def test_results_by_hand():
    judgments = [
        *(judgment(number, "a", left="a") for number in range(6)),
        *(judgment(number, "b", left="a") for number in range(6, 8)),
        *(judgment(number, "equal", left="b") for number in range(8, 10)),
        judgment(0, "a", left="b", repeat=True),
        judgment(6, "equal", left="b", repeat=True),
        judgment(0, "a", "Ben"),
        judgment(6, "a", "Ben"),
    ]
    results = analyze(judgments)
    first, second = results.systems
    assert (first.name, first.wins, first.ties, first.losses) == ("a", 8, 2, 2)
    assert first.win_rate.value == pytest.approx(9 / 12)
    assert second.win_rate.value == pytest.approx(3 / 12)
    # Davidson's closed form of two systems, half an outcome added to each
    assert first.strength.value == pytest.approx(np.log(8.5 / 2.5) / 2)
    assert first.strength.low < first.strength.value < first.strength.high
    ann, ben = results.judges
    assert (ann.judgments, ann.repeats, ann.consistent, ann.equal) == (10, 2, 0.5, 0.2)
    assert ann.left == pytest.approx(6 / 9)
    assert (ann.agreement, ben.agreement, ben.consistent, ben.left) == (0.5, 0.5, None, None)
    (agreement,) = results.agreement
    assert (agreement.what, agreement.units) == ("choice", 2)


def test_the_order_of_systems_in_a_row_changes_nothing():
    rows = [judgment(n, "a" if n % 3 else "equal", f"J{n % 2}", correctness_a=5, correctness_b=n % 5 + 1)
            for n in range(12)]  # fmt: skip
    turned = [
        Judgment(one.judge, one.image, "b", "a", one.choice, correctness_a=one.correctness_b,
                 correctness_b=one.correctness_a)
        for one in rows
    ]  # fmt: skip
    assert analyze(rows).systems == analyze(turned).systems


def test_ratings_have_means_intervals_and_alpha():
    rows = [
        judgment(n, "a", judge, correctness_a=5, correctness_b=1 + n % 2, fluency_a=4, fluency_b=4)
        for n in range(10)
        for judge in ("Ann", "Ben")
    ]
    results = analyze(rows)
    means = {one.name: one.ratings["correctness"].value for one in results.systems}
    assert means == {"a": 5.0, "b": 1.5}
    by_what = {one.what: one for one in results.agreement}
    assert by_what["correctness"].alpha.value == pytest.approx(1)
    assert by_what["correctness"].units == 20
    assert np.isnan(by_what["fluency"].alpha.value)  # all one value
    assert "correctness" in tables(results)[0].header


def test_a_study_comes_to_the_results_of_its_csv(new_study, tmp_path: Path):
    study = new_study(repeat_share=0.25)
    judge_all(study, "Ann", prefers_alpha)
    judge_all(study, "Ben", lambda *_: "left")
    judgments = study.judgments()
    write_judgments(judgments, tmp_path / "judgments.csv")
    again = read_judgments(tmp_path / "judgments.csv")
    assert again == judgments
    results = analyze(again)
    assert results.systems[0].name == "run-secret-a"
    by_judge = {one.judge: one for one in results.judges}
    assert by_judge["Ann"].consistent == 1.0
    assert by_judge["Ben"].consistent == 0.0  # who always says left is caught
    assert by_judge["Ben"].left == 1.0


def test_formulas_of_spreadsheets_are_text_and_come_back(tmp_path: Path):
    evil = Judgment("=cmd()", "-1.png", "@a", "'b", "@a", caption_a="+1")
    write_judgments([evil], tmp_path / "evil.csv")
    cells = list(csv.reader((tmp_path / "evil.csv").open(newline="")))[1]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert read_judgments(tmp_path / "evil.csv") == [evil]


HEADER = "judge,image,system_a,system_b,choice"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("judge,image,system_a,choice\nx,1,a,a\n", "no column 'system_b'"),
        (f"{HEADER}\n", "holds no judgment"),
        (f"{HEADER}\nAnn,1,a,b,c\n", "choice is 'c', and none of 'a', 'b', 'equal'"),
        (f"{HEADER}\nAnn,1,a,a,a\n", "compared with itself"),
        (f"{HEADER}\n,1,a,b,a\n", "judge is empty"),
        (f"{HEADER}\nAnn,1,a,b\n", "4 cells where the header names 5"),
        (f"{HEADER},correctness_a\nAnn,1,a,b,a,6\n", "no number from 1 to 5"),
        (f"{HEADER},seconds\nAnn,1,a,b,a,nan\n", "no number of them"),
        (f"{HEADER},repeat\nAnn,1,a,b,a,maybe\n", "repeat is 'maybe'"),
        (f"{HEADER}\nAnn,{'x' * 20_000},a,b,a\n", "are the most"),
        ("", "is empty"),
    ],
)
def test_a_wrong_csv_is_one_sentence(tmp_path: Path, text: str, message: str):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_judgments(tmp_path / "bad.csv")
    assert len(str(caught.value)) < 500


def test_without_judgments_there_are_no_results():
    with pytest.raises(UserError, match="no judgment yet"):
        analyze([judgment(1, "a", repeat=True)])
    many = [Judgment("x", f"{n}", f"s{n}", f"t{n}", "equal") for n in range(40)]
    with pytest.raises(UserError, match="80 systems"):
        analyze(many)


def test_names_of_strangers_do_nothing_to_a_terminal_or_a_table():
    row = Judgment("\x1b[2JA\nnn", "1.png", "a\x1b]0;x\x07", "b\r\nc", "equal")
    cells = [cell for table in tables(analyze([row])) for line in table.rows for cell in line]
    assert not any(ord(sign) < 32 for cell in cells for sign in cell)


@pytest.mark.parametrize("ending", ["csv", "md", "tex"])
def test_tables_for_papers_and_the_command(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [
        Judgment("A_1", f"{n}", "50%_lstm", "x|y", "x|y" if n % 4 else "equal") for n in range(9)
    ]
    write_judgments(rows, tmp_path / "in.csv")
    out = tmp_path / f"table.{ending}"
    with pytest.raises(SystemExit) as ended:
        main(["human-eval", "--from", str(tmp_path / "in.csv"), "--table", str(out)])
    assert ended.value.code == 0
    assert "x|y" in capsys.readouterr().out
    text = out.read_text()
    shown = {"csv": "50%_lstm", "md": r"| x\|y | 6 | 3 | 0 |", "tex": r"50\%\_lstm & 0 & 3 & 6"}
    assert shown[ending] in text
    with pytest.raises(UserError, match="say FILE"):
        write_table(analyze(rows), tmp_path / "table.pdf")


def test_groups_that_nobody_compared_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "judgments.csv"
    write_judgments(
        [
            Judgment("Ann", "0.png", "a", "b", "a"),
            Judgment("Ann", "0.png", "c", "d", "equal"),
        ],
        file,
    )
    with pytest.raises(SystemExit):
        main(["human-eval", "--results", "--from", str(file)])
    assert "with those of another (a, b; c, d): their strengths say nothing" in (
        capsys.readouterr().err
    )
