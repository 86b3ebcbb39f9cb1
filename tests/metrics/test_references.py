import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.metrics import PreparedReferences


def prepare(references):
    return PreparedReferences(references, str.split)


def test_counts_equal_a_plain_count():
    prepared = prepare({"a": ["x y x y", "x y z"], "b": ["y z"]})
    counts = prepared.candidates(["a"], ["x y x y q q"]).orders
    assert [int(order.count.sum()) for order in counts] == [6, 5, 4, 3]
    bigrams = counts[1]
    assert sorted(bigrams.count.tolist()) == [1, 1, 1, 2]  # yx, yq, qq and twice xy
    found = bigrams.pair >= 0
    assert prepared.orders[1].pair_max[bigrams.pair[found]].tolist() == [2, 1]  # xy, yx


def test_document_frequency_counts_images_not_captions():
    prepared = prepare({"a": ["x y", "x x"], "b": ["y"], "c": ["y y"]})
    assert prepared.orders[0].document_frequency.tolist() == [1, 3]


def test_image_without_reference_is_named():
    with pytest.raises(UserError, match="'b' has no reference caption"):
        prepare({"a": ["x"], "b": []})


def test_split_without_images_is_refused():
    with pytest.raises(UserError, match="no images"):
        prepare({})


def test_unknown_image_is_named():
    with pytest.raises(UserError, match="7 has no reference caption"):
        prepare({1: ["x"]}).candidates([1, 7], ["x", "x"])


def test_number_of_captions_must_match():
    with pytest.raises(ValueError, match="1 images but 2 captions"):
        prepare({1: ["x"]}).tokenized_candidates(np.array([0]), [["x"], ["y"]])
