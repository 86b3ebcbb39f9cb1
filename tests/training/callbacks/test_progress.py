import pytest

from captionlab.training.callbacks.progress import clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (3661, "1:01:01")],
)
def test_clock(seconds: float, text: str):
    assert clock(seconds) == text
