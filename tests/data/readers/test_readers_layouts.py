import importlib
import re
from pathlib import Path

import pytest

CONF = Path(__file__).parents[3] / "conf" / "data"
PATHS = re.compile(r"ROOT/[\w./{},-]*[\w}/]")
REAL = sorted(
    path
    for path in CONF.glob("*.yaml")
    if "data.readers." in path.read_text("utf-8")
    and not path.stem.startswith("shapes")  # read no file
    and "readers.Joined" not in path.read_text("utf-8")  # reads by others
)

MODULES = (
    *(
        "datasets",
        "coco",
        "flickr",
        "karpathy",
        "tables",
        "plain_tables",
        "json_tables",
        "sidecars",
    ),
    *("image_folder", "shard_readers", "conversations", "vqa", "auto"),
)


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_yaml_and_error_message_show_the_same_layout(path: Path):
    text = path.read_text("utf-8")
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    module, _, name = re.search(r"_target_: (\S+)", text)[1].rpartition(".")
    year = re.search(r"year: (\d+)", text)
    layout = getattr(importlib.import_module(module), name).LAYOUT
    layout = layout.replace("YEAR", year[1] if year else "YEAR")
    shown = set(PATHS.findall(comment))
    assert shown or "data.root=FOLDER" in comment
    assert shown <= set(PATHS.findall(layout))


def test_every_reader_has_its_yaml():
    modules = [importlib.import_module(f"captionlab.data.readers.{module}") for module in MODULES]
    readers = {
        f"captionlab.data.readers.{name}"
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and hasattr(value, "LAYOUT")
    }
    targets = {re.search(r"_target_: (\S+)", path.read_text("utf-8"))[1] for path in REAL}
    assert targets == readers
