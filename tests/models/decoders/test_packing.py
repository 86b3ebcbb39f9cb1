import torch

from captionlab.models.decoders.recurrent.packing import Packing


def _tokens():
    lengths = torch.tensor([[2, 5], [1, 0], [3, 3]])
    return torch.ones(3, 2, 6, dtype=torch.long) * (torch.arange(6) < lengths[..., None])


def test_every_token_is_kept_once_and_comes_back_to_its_place():
    tokens = _tokens()
    packing = Packing(tokens, pad_id=0)
    values = torch.arange(1, tokens.numel() + 1).view(tokens.shape)
    rows = packing.pack(values)
    assert len(rows) == len(set(rows.tolist())) == sum(packing.step_counts)
    restored = packing.unpack(rows)
    assert torch.equal(restored[tokens != 0], values[tokens != 0])


def test_steps_shrink_as_captions_end():
    packing = Packing(_tokens(), pad_id=0)
    # lengths by image, longest first: 5 2, 3 3, 1 0
    assert packing.images.tolist() == [0, 2, 1]
    assert packing.step_shapes == [(3, 2), (2, 2), (2, 2), (1, 1), (1, 1)]


def test_rows_of_a_step_are_image_by_image_longest_caption_first():
    tokens = _tokens()
    packing = Packing(tokens, pad_id=0)
    captions = torch.arange(6).view(3, 2, 1).expand_as(tokens)
    first = packing.pack(captions)[: packing.step_counts[0]]
    assert first.tolist() == [1, 0, 4, 5, 2, 3]
