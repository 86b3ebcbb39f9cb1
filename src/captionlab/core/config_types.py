"""What a configuration is to those who read it: plain containers, whatever made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# OmegaConf gives containers without types: the checks of ``config.check`` say what is inside
Config = Mapping[str, Any]
MutableConfig = dict[str, Any]
