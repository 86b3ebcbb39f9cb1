"""What a page is about, in words."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from captionlab.decoding.beam import Beam
from captionlab.training.gallery import Example, render_gallery
from captionlab.training.provenance import told_checkpoint, told_data, told_decoding


def test_data_are_told_with_split_counts_and_place():
    read = {"name": "csv", "origin": "/photos", "images": 8, "captions": 1040}
    told = told_data(read, "val")
    assert told == "csv, split val, 8 images with 1,040 captions, from /photos"
    assert "5 of 8 images" in told_data(read, "val", scored=5)
    assert told_data({}, "test", features=Path("s")) == "unnamed, split test, seen through s"


def test_checkpoints_are_told_with_their_epochs(tmp_path: Path):
    told = told_checkpoint([(tmp_path / "a.ckpt", 3), (tmp_path / "b.ckpt", 1)])
    assert told == f"{tmp_path}/a.ckpt (epoch 3) with {tmp_path}/b.ckpt (epoch 1)"


def test_a_decoding_is_told_alike_built_or_configured():
    configured = {"_target_": "captionlab.decoding.beam.Beam", "beam_size": 4, "min_length": None}
    assert told_decoding(configured) == "beam, beam_size=4"
    assert told_decoding(partial(Beam, beam_size=4)) == "beam, beam_size=4"
    assert "beam_size=4" in told_decoding(Beam(beam_size=4))


def test_a_page_tells_them_as_text():
    facts = {"data": "<b>x</b>", "checkpoint": "a&b", "decoding": "beam"}
    page = render_gallery([Example(np.zeros((2, 2, 3), np.uint8), 1, "a")], "val", {}, facts)
    for shown in ("&lt;b&gt;x&lt;/b&gt;", "a&amp;b", "beam"):
        assert f"<dd>{shown}</dd>" in page
    assert "<b>x</b>" not in page


def test_a_page_tells_why_it_shows_no_attention():
    image = np.zeros((2, 2, 3), np.uint8)
    page = render_gallery([Example(image, 1, "a", unseen="no <grid>")], "val", {})
    assert "<dd>not shown: no &lt;grid&gt;</dd>" in page
