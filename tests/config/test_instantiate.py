"""A plain node is built without Hydra: to what Hydra makes of it."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from captionlab.config import instantiate
from captionlab.config.instantiate import Factory, build_part
from captionlab.core.errors import UserError

BEAM = {
    "_target_": "captionlab.decoding.Beam",
    "beam_size": 3,
    "forced_words": ["dog", "cat"],
    "max_length": 9,
}
ENCODER = {"_target_": "captionlab.models.encoders.SmallCNN", "channels": [4, 8], "image_size": 8}


def test_a_plain_node_becomes_what_hydra_makes_of_it(monkeypatch):
    own = build_part(BEAM, "decoding")
    shapes = {k: t.shape for k, t in build_part(ENCODER).state_dict().items()}
    made = Factory(BEAM, "decoding")(length_penalty=0.5)
    monkeypatch.setattr(instantiate, "_is_plain", lambda node: False)
    assert asdict(own) == asdict(build_part(BEAM, "decoding"))
    assert shapes == {k: t.shape for k, t in build_part(ENCODER).state_dict().items()}
    assert asdict(made) == asdict(Factory(BEAM, "decoding")(length_penalty=0.5))


@pytest.mark.parametrize(
    "change",
    [
        {"_target_": "os.system"},
        {"_target_": "captionlab.core.files.os.system"},
        {"forced_words": "${oc.env:HOME}"},
        {"beam_size": "???"},
        {"_args_": [1]},
        {"_convert_": "none"},
        {"inner": [{"_target_": "os.system"}]},
        {"_partial_": "yes"},
    ],
)
def test_anything_else_is_hydras(change: dict):
    assert instantiate._is_plain(BEAM)
    assert not instantiate._is_plain({**BEAM, **change})


def test_a_refused_value_is_told_with_its_key():
    with pytest.raises(UserError, match=r"^model.encoder: .*image_size"):
        build_part({**ENCODER, "image_size": 7}, "model.encoder")
