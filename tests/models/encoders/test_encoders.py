import pytest
import torch
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from captionlab.core.errors import UserError
from captionlab.models.encoders.torchvision import TorchvisionEncoder

# channels last sum a convolution up in another order
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}
QUICK = ["resnet18", "mobilenet_v3_large"]
# every name that has a file in conf/model/encoder, with torchvision's node of the last features
NODES = {
    "vgg16": "features.29",
    "vgg19": "features.35",
    "resnet18": "layer4",
    "resnet50": "layer4",
    "resnet101": "layer4",
    "resnet152": "layer4",
    "inception_v3": "Mixed_7c",
    "densenet121": "relu",
    "densenet161": "relu",
    "mobilenet_v3_large": "features",
    "efficientnet_b0": "features",
    "efficientnet_v2_s": "features",
    "convnext_tiny": "features",
    "swin_t": "permute",
}
ALL = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in (*NODES, "vit_b_16")
]


def _size(name):
    return {"inception_v3": 128, "vit_b_16": 32}.get(name, 64)


def _built(name, **options):
    torch.manual_seed(0)
    options = {"weights": None, "image_size": _size(name), **options}
    return TorchvisionEncoder(name, **options)


def _images(size=64):
    torch.manual_seed(1)
    return torch.randint(256, (2, 3, size, size), dtype=torch.uint8)


def _network(name):
    """Return torchvision's own network with random weights, in evaluation."""
    torch.manual_seed(0)
    aux = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    size = {"image_size": 32} if name == "vit_b_16" else {}
    return models.get_model(name, weights=None, **aux, **size).eval()


@pytest.mark.parametrize("name", ALL)
def test_features_equal_torchvisions(name):
    network, encoder = _network(name), _built(name)
    encoder.trunk.load_state_dict(network.state_dict(), strict=False)
    images = _images(_size(name))
    memory = encoder(images)
    pixels = encoder.normalize(images)
    with torch.no_grad():
        if name == "vit_b_16":
            tokens = create_feature_extractor(network, ["encoder"])(pixels)["encoder"]
            slots, pooled = tokens[:, 1:], tokens[:, 0]
        else:
            node = NODES[name]
            slots = create_feature_extractor(network, [node])(pixels)[node].flatten(2).mT
            pooled = slots.mean(1)
    torch.testing.assert_close(memory.slots, slots, **ROUNDING)
    torch.testing.assert_close(memory.pooled, pooled, **ROUNDING)
    assert memory.slots.shape[-1] == encoder.dim
    assert memory.mask.all()


@pytest.mark.parametrize("name", ALL)
def test_last_stage_learns_and_the_rest_stays(name):
    encoder = _built(name, trainable="last_stage").train()
    learning = [p for p in encoder.parameters() if p.requires_grad]
    total = sum(p.numel() for p in encoder.parameters())
    assert 0.1 < sum(p.numel() for p in learning) / total < 0.95
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    encoder(_images(_size(name))).slots.square().mean().backward()
    assert all(p.grad is not None for p in learning)
    frozen = [key for key, p in encoder.named_parameters() if not p.requires_grad]
    prefixes = {key.rpartition(".")[0] for key in frozen}
    for key, value in encoder.state_dict().items():
        if key.rpartition(".")[0] in prefixes:  # their statistics too
            assert torch.equal(value, before[key]), key


def test_frozen_encoder_keeps_its_statistics_and_no_graph_in_training_mode():
    encoder = _built("resnet18").train()
    before = encoder.trunk.bn1.running_mean.clone()
    memory = encoder(_images())
    assert not memory.slots.requires_grad
    assert not any(module.training for module in encoder.trunk.modules())
    assert torch.equal(encoder.trunk.bn1.running_mean, before)


def test_encoder_that_learns_wholly_updates_its_statistics():
    encoder = _built("resnet18", trainable="all").train()
    before = encoder.trunk.bn1.running_mean.clone()
    encoder(_images()).slots.mean().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert not torch.equal(encoder.trunk.bn1.running_mean, before)
    assert not encoder.eval().trunk.bn1.training


def test_bytes_and_fractions_give_the_same_memory():
    # in double precision: what float32 rounds differently grows in eighteen layers, on some CPUs
    # beyond any tight bound
    encoder, images = _built("resnet18").double(), _images()
    torch.testing.assert_close(encoder(images).slots, encoder(images.double() / 255).slots)


def test_normalization_goes_into_the_checkpoint():
    assert _built("resnet18").state_dict()["mean"].flatten().tolist() == pytest.approx(
        [0.485, 0.456, 0.406]
    )
    assert _built("googlenet").mean.flatten().tolist() == [0.5] * 3


def test_images_get_the_mean_and_deviation_of_the_training_data():
    encoder = _built("resnet18")
    white = encoder.normalize(torch.full((1, 3, 64, 64), 255, dtype=torch.uint8))
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert white[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)


def test_own_learning_rate_and_sizes_are_attributes():
    encoder = _built("resnet18", learning_rate=1e-5)
    assert (encoder.dim, encoder.image_size, encoder.learning_rate) == (512, 64, 1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet5O"}, "no backbone 'resnet5O': did you mean 'resnet50'"),
        ({"name": "vgg16", "image_size": 8}, "vgg16 cannot take images of image_size=8: .*small"),
        ({"name": "inception_v3", "image_size": 32}, "inception_v3 cannot .* image_size=32"),
        ({"name": "vit_b_32", "image_size": 100}, "vit_b_32 cannot take .*image_size=100"),
        ({"name": "resnet18", "trainable": "last"}, "trainable='last'.*last_stage"),
    ],
)
def test_choices_that_cannot_work_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        TorchvisionEncoder(**{"weights": None, **options})


def test_vision_transformer_refuses_other_sizes_than_its_own():
    encoder = _built("vit_b_32", image_size=64)
    with pytest.raises(ValueError, match="built for 4 patches, but images of 96 x 96 make 9"):
        encoder(_images(96))


def test_images_of_another_form_are_refused():
    with pytest.raises(ValueError, match=r"got \(2, 1, 64, 64\)"):
        _built("resnet18")(_images()[:, :1])
