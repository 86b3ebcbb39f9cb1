import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.models.encoders.small_cnn import SmallCNN


def test_memory_has_one_slot_for_each_cell_of_the_last_grid():
    encoder = SmallCNN(channels=(4, 8), image_size=16)
    memory = encoder(torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8))
    assert memory.slots.shape == (2, 16, encoder.dim) == (2, 16, 8)
    torch.testing.assert_close(memory.pooled, memory.slots.mean(1))
    assert memory.mask.all()


def test_slots_tell_left_from_right():
    encoder = SmallCNN(channels=(4, 8), image_size=16).eval()
    slots = encoder(torch.full((1, 3, 16, 16), 128, dtype=torch.uint8)).slots[0].view(4, 4, 8)
    # a blank image looks the same to the convolutions in these two cells
    assert (slots[1, 1] - slots[1, 2]).abs().max() > 0.01


def test_everything_learns():
    encoder = SmallCNN(channels=(4, 8), image_size=16).train()
    encoder(torch.rand(2, 3, 16, 16)).slots.square().mean().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_size_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(UserError, match="image_size that 8 divides, got 100"):
        SmallCNN(image_size=100)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="built for images of 64 x 64, got 32 x 64"):
        SmallCNN()(torch.rand(1, 3, 32, 64))


def test_what_is_frozen_begins_in_evaluation_and_stays_there():
    encoder = SmallCNN(trainable="none", image_size=16)
    assert not any(module.training for module in encoder.modules())
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert SmallCNN(image_size=16).training


def test_layers_choose_the_grids_that_slots_are_made_of():
    torch.manual_seed(0)
    encoder = SmallCNN(channels=(4, 8, 6), image_size=16, layers=[-2, -1]).eval()
    images = torch.rand(2, 3, 16, 16)
    middle = encoder.layers[:2](encoder.normalize(images))
    last = encoder.layers[2:](middle)
    maps = torch.cat([torch.nn.functional.avg_pool2d(middle, 2), last], 1)
    memory = encoder(images)
    torch.testing.assert_close(memory.slots, maps.flatten(2).mT + encoder.positions)
    assert (encoder.dim, memory.slots.shape) == (14, (2, 4, 14))
    inner = SmallCNN(channels=(4, 8, 6), image_size=16, layers=[1])
    assert inner(images).slots.shape == (2, 16, 8)


def test_the_last_grid_is_the_memory_without_the_option():
    def slots(layers: list[int] | None) -> torch.Tensor:
        torch.manual_seed(0)
        return SmallCNN(image_size=16, layers=layers).eval()(torch.full((1, 3, 16, 16), 0.3)).slots

    assert torch.equal(slots(None), slots([-1]))


def test_grids_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match=r"no layer 3, SmallCNN of .* has 3 layers, 0 to 2 or -3"):
        SmallCNN(layers=[3])
