"""Which settings a resumed run must repeat, and which a checkpoint of an earlier version lacks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from captionlab.core.errors import UserError
from captionlab.training.resume import require_same_settings

CHECKPOINT = SimpleNamespace(path=Path("last.ckpt"), overrides=["model=tiny"])


def test_a_switch_that_an_earlier_version_did_not_have_is_off():
    before = {"encoder": {"dim": 3}}
    off, on = ({"encoder": {"dim": 3, "mask_padding": value}} for value in (False, True))
    require_same_settings("model", before, off, CHECKPOINT)
    with pytest.raises(UserError, match=r"mask_padding=None, this run has .*mask_padding=True"):
        require_same_settings("model", before, on, CHECKPOINT)


def test_a_switch_that_is_now_off_was_on():
    with pytest.raises(UserError, match="mask_padding=True, this run has"):
        require_same_settings("model", {"mask_padding": True}, {"mask_padding": False}, CHECKPOINT)
