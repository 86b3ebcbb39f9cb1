"""torch's fused LSTM and GRU layers over whole sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captionlab.models.decoders.recurrent.cell import RecurrentState
from captionlab.models.decoders.recurrent.layers import LAYERS


class FusedLayers(nn.Module):
    """LSTM or GRU layers over whole sequences, with the state laid out by image and beam.

    B images, K captions or beams an image, T tokens, E input width, L layers, H hidden width.
    """

    def __init__(self, cell: str, inputs: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        fused = LAYERS[cell].fused
        between = dropout if layers > 1 else 0.0
        self.rnn = fused(inputs, hidden, layers, batch_first=True, dropout=between)

    def forward(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Return hidden states (B, K, T, H) of (B, K, T, E), and the last state (B, K, L, H)."""
        shape = inputs.shape[:2]
        first = [part.flatten(0, 1).transpose(0, 1).contiguous() for part in state]
        sequences = inputs.flatten(0, 1)
        if lacks_autocast(inputs.device):
            with torch.autocast("cpu", enabled=False):
                sequences, *first = (part.float() for part in (sequences, *first))
                hidden, last = self.rnn(sequences, tuple(first) if len(first) > 1 else first[0])
        else:
            hidden, last = self.rnn(sequences, tuple(first) if len(first) > 1 else first[0])
        last = last if isinstance(last, tuple) else (last,)
        return (
            hidden.unflatten(0, shape),
            tuple(part.transpose(0, 1).unflatten(0, shape) for part in last),
        )


def lacks_autocast(device: torch.device) -> bool:
    """Return whether autocast asks a CPU's fused LSTM for what its oneDNN lacks.

    On CPUs without bfloat16 instructions (AVX2) torch ends in an error there.
    """
    if device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    if torch.get_autocast_dtype("cpu") == torch.float16:
        return not torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return not torch.ops.mkldnn._is_mkldnn_bf16_supported()
