"""Anything that can be typed as an override composes, or ends in one sentence."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captionlab.cli.limits import require_limits
from captionlab.config.check import check
from captionlab.config.compose import compose, groups
from captionlab.config.override_syntax import as_readable_arguments, explain_override
from captionlab.config.parts import require_parts
from captionlab.config.resolve import resolve
from captionlab.core.errors import UserError

KEYS = st.one_of(
    st.sampled_from(
        [
            *("model", "data", "decoding", "optimizer", "objective", "logger", "callbacks", "seed"),
            *("model/encoder", "data/tokenizer", "model.decoder.hidden", "data.source", "ckpt"),
            *(
                "trainer.max_epochs",
                "optimizer.lr",
                "data.root",
                "decoding.beam_size",
                "hydra.run.dir",
            ),
            *("model.encoder.channels", "callbacks.best", "trainer", "experiment", "output_dir"),
        ]
    ),
    st.text(max_size=8),
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *(
                "null",
                "nan",
                "-1",
                "1e400",
                "[1",
                "{a:1}",
                "[]",
                "{}",
                "???",
                "${seed}",
                "${",
                "''",
            ),
            *(
                "${oc.env:HOME}",
                "a,b",
                "range(1,3)",
                "choice(a)",
                "tiny",
                "../x",
                "true",
                "0x1",
                "beam",
            ),
        ]
    ),
    st.text(max_size=12),
)
PREFIXES = st.sampled_from(["", "", "", "+", "++", "~", "-", "--"])
SIGNS = st.sampled_from(["=", "=", "=", "", "==", "@x="])


def check_override(text: str) -> None:
    assert len(explain_override(text).splitlines()) == 1
    with suppress(UserError):
        assert len(as_readable_arguments([text], groups())) == 1
        config = compose([text, "output_dir=unused"])
        require_parts(config)
        used = resolve(config)
        check({key: value for key, value in used.items() if key != "hydra"})
        require_limits(used)


TYPED = st.builds(lambda *parts: "".join(parts), PREFIXES, KEYS, SIGNS, VALUES)


@settings(derandomize=True, deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
@given(TYPED)
def test_what_is_typed_composes_or_ends_in_a_sentence(text: str):
    check_override(text)


@pytest.mark.slow
@settings(deadline=None, max_examples=1_500, suppress_health_check=list(HealthCheck))
@given(TYPED)
def test_much_that_is_typed(text: str):
    check_override(text)
