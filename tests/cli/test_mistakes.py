"""A wrong input gets one sentence and status 2, and leaves nothing that looks like a run."""

import json
import sys
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from captionlab.cli.hydra_main import _train, hydra_main
from commands_support import csv_data

SMALL = [
    "data.source.train_size=64",
    "data.source.val_size=4",
    "data.source.test_size=4",
    "trainer.max_epochs=1",
    "meteor=false",
]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run train.py in an empty folder; return its exit status and what it wrote to stderr."""

    def run(*overrides: str) -> tuple[object, str]:
        GlobalHydra.instance().clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # and what main() makes of it is undone
        monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
        with pytest.raises(SystemExit) as exit_:
            hydra_main(_train)()
        return exit_.value.code, capfd.readouterr().err

    return run


def left_behind(folder: Path) -> list[Path]:
    return [
        p for p in folder.rglob("*") if p.is_file() and "data" not in p.relative_to(folder).parts
    ]


def assert_one_sentence(result: tuple[object, str], *parts: str) -> None:
    status, message = result
    assert status == 2, message
    assert message.startswith("error: ")
    assert "Traceback" not in message
    assert len(message.strip().splitlines()) == 1, message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("model=attn_lsmt", ["model=attn_lsmt", "did you mean 'attn_lstm'"]),
        ("model/encoder=resnet17", ["model/encoder=resnet17", "resnet18"]),
        ("optimizer.learning_rate=1", ["optimizer.learning_rate", "lr"]),
        ("sede=1", ["sede", "did you mean 'seed'"]),
        ("seed=abc", ["seed='abc'", "whole number"]),
        ("trainer.max_epochs=many", ["trainer.max_epochs='many'", "whole number"]),
        ("data.batch_size=large", ["data.batch_size='large'", "whole number"]),
        ("data.batch_size=0", ["data.batch_size=0"]),
        ("+optimizer.momentun=0.9", ["optimizer.momentun", "no such option"]),
        ("model.decoder.layers=0", ["layers", "0"]),
        ("model.decoder.hidden=-4", ["hidden", "-4"]),
        ("data.tokenizer.threshold=100000", ["data.tokenizer.threshold", "100000"]),
        ("data.source.val_size=0", ["val_size"]),
        ("data.language=fr", ["fr", "en"]),
        ("data.fit=squeeze", ["squeeze", "stretch"]),
        ("objective.label_smoothing=2", ["objective.label_smoothing=2"]),
        ("decoding.max_length=0", ["decoding.max_length"]),
        ("ckpt=nowhere.ckpt", ["nowhere.ckpt"]),
        ("ckpt=s3://b/last.ckpt", ["s3://b/last.ckpt is an address", "download it first"]),
        ("+data.root=gs://b", ["data.root=gs://b is an address", "download it first"]),
        ("data.features=https://a.b/c", ["data.features=https://a.b/c is an address"]),
        ("model.encoder.weights=https://a.b/c.pth", ["weights=https://a.b/c.pth is an address"]),
        ("hydra.run.dir=s3://b/run", ["hydra.run.dir=s3://b/run is an address", "copy it"]),
        ("trainer.precision=12", ["trainer", "12"]),
        ("trainer.accelerator=gpu", ["trainer.accelerator=gpu"]),
        ("trainer.devices=0", ["trainer.devices=0"]),
        ("model.encoder._target_=captionlab.models.encoders.small_cnn.SmalCNN", ["SmallCNN"]),
        ("a b=c", ["a b=c"]),
    ],
)
def test_one_sentence(train, tmp_path: Path, monkeypatch, override: str, parts: list[str]):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert_one_sentence(train(*SMALL, override), *parts)
    assert left_behind(tmp_path) == []


def test_a_file_in_the_way_of_the_run(train, tmp_path: Path):
    (tmp_path / "run").write_text("")
    for place in ("run", "run/deep"):
        assert_one_sentence(
            train(*SMALL, f"hydra.run.dir={place}"), f"hydra.run.dir={place}", "run is no folder"
        )


def test_four_gpus_where_there_is_one(train, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert_one_sentence(train(*SMALL, "trainer.devices=4"), "trainer.devices=4", "1 GPU")


def test_missing_root_tells_the_layout(train):
    assert_one_sentence(train("data=flickr8k"), "data.root", "Flickr8k.token.txt")


def test_root_that_is_not_there(train):
    assert_one_sentence(train("data=flickr8k", "data.root=nowhere"), "data.root", "nowhere")


def test_half_an_annotation_file_gives_file_and_position(train, tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    whole = json.dumps({"images": [{"filename": "a.jpg"}], "dataset": "coco"})
    (folder / "dataset_coco.json").write_text(whole[: len(whole) // 2])
    result = train("data=coco", f"data.root={folder}")
    assert_one_sentence(result, "dataset_coco.json", "line 1")


def test_a_vocabulary_of_three_words(train, tmp_path: Path):
    result = train(*csv_data(tmp_path, 12, "dog {}"))
    assert_one_sentence(result, "data.tokenizer.threshold")
    assert left_behind(tmp_path) == []


def test_missing_images_are_counted_and_named(train, tmp_path: Path):
    overrides = csv_data(tmp_path, 12)
    (tmp_path / "data" / "3.png").unlink()
    assert_one_sentence(train(*overrides), "1 of the 8", "3.png", "data.missing_images=skip")


def test_pictures_that_are_addresses_are_not_fetched(train, tmp_path: Path):
    overrides = csv_data(tmp_path, 12)
    table = tmp_path / "data" / "captions.csv"
    table.write_text(table.read_text().replace("3.png", "https://a.b/3.png"))
    assert_one_sentence(train(*overrides), "1 of the 8", "a.b/3.png (an address: download it")


def test_broken_images_are_counted_and_named(train, tmp_path: Path):
    overrides = csv_data(tmp_path, 12)
    (tmp_path / "data" / "3.png").write_bytes(b"<html>not found</html>")
    assert_one_sentence(train(*overrides), "1 of the 8", "3.png", "data.broken_images=skip")


def test_an_empty_split_is_named(train, tmp_path: Path):
    overrides = csv_data(tmp_path, 12)
    table = tmp_path / "data" / "captions.csv"
    table.write_text(table.read_text().replace(",val", ",train"))
    assert_one_sentence(train(*overrides), "'val'")


def test_a_validation_split_of_one_image_is_refused_for_cider(train, tmp_path: Path):
    overrides = csv_data(tmp_path, 12)
    table = tmp_path / "data" / "captions.csv"
    table.write_text(
        table.read_text().replace("9.png,a dog runs on the green grass slowly,val\n", "")
    )
    assert_one_sentence(train(*overrides), "'val'", "CIDEr")


def test_captions_in_another_encoding(train, tmp_path: Path):
    overrides = csv_data(tmp_path, 12)
    table = tmp_path / "data" / "captions.csv"
    table.write_bytes(table.read_text().replace("dog", "chién").encode("latin-1"))
    assert_one_sentence(train(*overrides), "captions.csv", "data.source.encoding")


def test_a_checkpoint_of_another_project(train, tmp_path: Path):
    (tmp_path / "data").mkdir()
    other = tmp_path / "data" / "other.ckpt"
    torch.save({"state_dict": {"fc.weight": torch.zeros(2)}}, other)
    assert_one_sentence(train(*SMALL, f"init_from={other}"), "other.ckpt", "another project")


def test_a_damaged_checkpoint(train, tmp_path: Path):
    (tmp_path / "data").mkdir()
    torch.save({"state_dict": {"w": torch.zeros(2000)}}, tmp_path / "data" / "whole.ckpt")
    half = tmp_path / "data" / "half.ckpt"
    half.write_bytes((tmp_path / "data" / "whole.ckpt").read_bytes()[:3000])
    assert_one_sentence(train(*SMALL, f"init_from={half}"), "half.ckpt", "damaged")


def test_several_processes_in_a_multirun_are_refused(train):
    result = train("-m", *SMALL, "trainer.accelerator=cpu", "trainer.devices=2", "seed=1,2")
    assert_one_sentence(result, "-m", "trainer.devices=2")


def test_several_mistakes_are_told_at_once(train):
    status, message = train(*SMALL, "optimizer.lr=fast", "+objective.smoothing=1")
    assert status == 2
    assert "optimizer.lr='fast'" in message
    assert "objective.smoothing" in message
