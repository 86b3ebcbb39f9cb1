import csv

from captionlab.training.loggers.table_logger import TableLogger


def rows(path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_one_row_an_epoch_holds_all_its_values(tmp_path):
    logger = TableLogger(path=str(tmp_path / "metrics.csv"))
    logger.log_metrics({"train/loss": 2.0, "epoch": 0}, step=9)
    logger.log_metrics({"val/cider": 0.5, "epoch": 0}, step=9)
    logger.log_metrics({"train/loss": 1.0, "epoch": 1}, step=19)
    logger.save()
    table = rows(tmp_path / "metrics.csv")
    assert [row["train/loss"] for row in table] == ["2.0", "1.0"]
    assert table[0]["val/cider"] == "0.5"
    assert table[1]["val/cider"] == ""
    assert list(table[0])[:2] == ["epoch", "step"]


def test_a_resumed_run_keeps_the_earlier_rows(tmp_path):
    path = tmp_path / "metrics.csv"
    first = TableLogger(path=str(path))
    first.log_metrics({"train/loss": 2.0, "epoch": 0}, step=9)
    first.finalize("success")
    second = TableLogger(path=str(path))
    second.log_metrics({"train/loss": 1.0, "epoch": 1}, step=19)
    second.finalize("success")
    assert [row["epoch"] for row in rows(path)] == ["0", "1"]


def test_nothing_logged_leaves_no_file(tmp_path):
    TableLogger(path=str(tmp_path / "metrics.csv")).finalize("failed")
    assert list(tmp_path.iterdir()) == []
