"""Settings of a data module that cannot work, or not together."""

from __future__ import annotations

import math

from captionlab.core.errors import UserError
from captionlab.data.images.prepare import Augment
from captionlab.data.mixing import Extra


def require_size(features_cache_gib: float) -> None:
    """Raise UserError for a size of the features' cache that is none."""
    if not 0 < features_cache_gib < math.inf:
        raise UserError(
            f"data.features_cache_gib={features_cache_gib} must be above 0; data.features=null "
            "stores nothing."
        )


def require_positive(**values: int) -> None:
    """Raise UserError for the first of these settings that is below 1."""
    for key, value in values.items():
        if value < 1:
            raise UserError(f"data.{key}={value} must be at least 1.")


def require_images_unused(
    features: str, augment: Augment | None, extra: Extra | None, blank_images: bool
) -> None:
    """Raise UserError for settings that want images where features are read in their place."""
    if augment is not None or blank_images:
        what = "data.blank_images=true" if blank_images else "data.augment"
        raise UserError(f"{what} changes images, and data.features={features} reads none.")
    if extra is not None:
        raise UserError(
            f"data.features={features} holds the images of one data set: say data/extra=null"
        )
