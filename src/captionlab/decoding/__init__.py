"""From a model's next-token logits to captions: greedy, beam search, sampling."""

from captionlab.decoding.beam import Beam
from captionlab.decoding.generated import Generated, StepModel, StepState
from captionlab.decoding.greedy import Greedy
from captionlab.decoding.sampling import Sampling

__all__ = ["Beam", "Generated", "Greedy", "Sampling", "StepModel", "StepState"]
