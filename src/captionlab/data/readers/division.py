"""How images are divided into splits where a data set does not say, or not of all splits."""

from __future__ import annotations

from collections.abc import Mapping

from captionlab.data.records import hash_split, hashed_tenth

HASHED = "80/10/10 by a hash of the names"
VAL_OF_TRAIN = "val is a tenth of train, by a hash of the names"


def divided(split_of: Mapping[str, str | None]) -> tuple[dict[str, str], str]:
    """Return the split of each name, and in words what was divided ("" where nothing was).

    Where no name has a split, all are divided 80/10/10. Where there are train and test, but no val to
    choose a checkpoint by, it is a tenth of train: test is neither trained on nor chosen by.
    """
    given = {name: split or "" for name, split in split_of.items()}
    splits = set(given.values())
    if splits <= {""}:
        return hash_split(given), HASHED
    if "val" in splits or not {"train", "test"} <= splits:
        return given, ""
    held_out = hashed_tenth(name for name, split in given.items() if split == "train")
    return {**given, **dict.fromkeys(held_out, "val")}, VAL_OF_TRAIN if held_out else ""
