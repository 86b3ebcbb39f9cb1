"""Checkpoints hold token ids, so the special ones keep their places."""

from captionlab.core.special_tokens import SpecialTokens


def test_ids_are_the_places_of_the_texts():
    ids = (SpecialTokens.PAD, SpecialTokens.BOS, SpecialTokens.EOS, SpecialTokens.UNK)
    assert ids == (0, 1, 2, 3)
    assert SpecialTokens.TEXTS == ("<pad>", "<bos>", "<eos>", "<unk>")
    assert len(SpecialTokens.TEXTS) == SpecialTokens.COUNT == 4
