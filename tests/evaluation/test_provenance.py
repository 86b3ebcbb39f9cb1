"""A page says in words which data, checkpoint and decoding it shows."""

from functools import partial
from pathlib import Path

from captionlab.decoding import Beam, Greedy
from captionlab.evaluation.provenance import describe_checkpoint, describe_data, describe_decoding

READ = {"name": "flickr8k", "origin": "/data/flickr8k", "images": 1000, "captions": 5000}


def test_data_are_told_with_split_count_and_place():
    assert (
        describe_data(READ, "test", features=Path("/features"))
        == "flickr8k, split test, 1,000 images with 5,000 captions, from /data/flickr8k, "
        "seen through /features"
    )
    assert "16 of 1,000 images" in describe_data(READ, "test", scored=16)
    assert "of 1,000" not in describe_data(READ, "test", scored=1000)
    assert describe_data({}, "val") == "unnamed, split val"


def test_checkpoints_are_told_with_their_epochs():
    assert describe_checkpoint([("/a/best.ckpt", 3)]) == "/a/best.ckpt (epoch 3)"
    told = describe_checkpoint([("/a.ckpt", 3), (Path("b.ckpt"), 4)])
    assert told == f"/a.ckpt (epoch 3) with {Path.cwd() / 'b.ckpt'} (epoch 4)"


def test_a_decoding_is_told_alike_whether_built_or_configured():
    built = describe_decoding(Beam(beam_size=5))
    assert built.startswith("beam, beam_size=5, ")
    assert "forbidden_words" not in built
    settings = {**vars(Beam(beam_size=5)), "_target_": "captionlab.decoding.Beam"}
    assert describe_decoding(settings) == built
    assert describe_decoding(partial(Greedy, max_length=7)) == "greedy, max_length=7"
