"""captionlab: an image-captioning experiment framework.

``captionlab.train(["model=attn_lstm"])`` trains, ``captionlab.load_captioner("best.ckpt")`` gives a
captioner that takes photos. Nothing is imported before it is asked for.
"""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

__version__ = "0.1.0"

if TYPE_CHECKING:
    from captionlab.api import compose as compose
    from captionlab.api import evaluate as evaluate
    from captionlab.api import inspect as inspect
    from captionlab.api import train as train
    from captionlab.build import Sizes as Sizes
    from captionlab.build import build_captioner as build_captioner
    from captionlab.config.presets import Presets as Presets
    from captionlab.config.presets import presets as presets
    from captionlab.core.errors import UserError as UserError
    from captionlab.core.memory import Memory as Memory
    from captionlab.data import CaptionBatch as CaptionBatch
    from captionlab.data import CaptionDataModule as CaptionDataModule
    from captionlab.data import CaptionRecord as CaptionRecord
    from captionlab.data import CaptionSource as CaptionSource
    from captionlab.data.inspection.result import Inspection as Inspection
    from captionlab.decoding import Beam as Beam
    from captionlab.decoding import Greedy as Greedy
    from captionlab.decoding import Sampling as Sampling
    from captionlab.evaluation.score import score as score
    from captionlab.inference import LoadedCaptioner as LoadedCaptioner
    from captionlab.inference import load_captioner as load_captioner
    from captionlab.metrics import CaptionMetrics as CaptionMetrics
    from captionlab.models import Captioner as Captioner
    from captionlab.models import Decoded as Decoded
    from captionlab.models import Decoder as Decoder
    from captionlab.models import State as State
    from captionlab.models.attention import Attention as Attention
    from captionlab.models.attention import ScoreAttention as ScoreAttention
    from captionlab.models.decoders import LanguageModelDecoder as LanguageModelDecoder
    from captionlab.models.decoders import RecurrentDecoder as RecurrentDecoder
    from captionlab.models.decoders import TransformerDecoder as TransformerDecoder
    from captionlab.models.encoders import HuggingFaceEncoder as HuggingFaceEncoder
    from captionlab.models.encoders import ImageEncoder as ImageEncoder
    from captionlab.models.encoders import SmallCNN as SmallCNN
    from captionlab.models.encoders import StoredEncoder as StoredEncoder
    from captionlab.models.encoders import TimmEncoder as TimmEncoder
    from captionlab.models.encoders import TorchvisionEncoder as TorchvisionEncoder
    from captionlab.objectives import CrossEntropy as CrossEntropy
    from captionlab.objectives import Distillation as Distillation
    from captionlab.objectives import GumbelGAN as GumbelGAN
    from captionlab.objectives import HardAttentionLoss as HardAttentionLoss
    from captionlab.objectives import Objective as Objective
    from captionlab.objectives import PolicyGAN as PolicyGAN
    from captionlab.objectives import Preference as Preference
    from captionlab.objectives import Reward as Reward
    from captionlab.objectives import ScheduledSampling as ScheduledSampling
    from captionlab.objectives import SelfCritical as SelfCritical
    from captionlab.objectives import Staged as Staged
    from captionlab.objectives import Variational as Variational
    from captionlab.runs.run import Run as Run
    from captionlab.runs.run import read_run as read_run
    from captionlab.text import Tokenizer as Tokenizer
    from captionlab.text.prompts import Prompt as Prompt
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            # the commands as functions
            "api": ["compose", "evaluate", "inspect", "train"],
            "config.presets": ["Presets", "presets"],
            "data.inspection.result": ["Inspection"],
            "evaluation.score": ["score"],
            "inference": ["LoadedCaptioner", "load_captioner"],
            "text.prompts": ["Prompt"],
            "runs.run": ["Run", "read_run"],
            # what a captioner is built of
            "build": ["Sizes", "build_captioner"],
            "core.errors": ["UserError"],
            "core.memory": ["Memory"],
            "data": ["CaptionBatch", "CaptionDataModule", "CaptionRecord", "CaptionSource"],
            "decoding": ["Beam", "Greedy", "Sampling"],
            "metrics": ["CaptionMetrics"],
            "models": ["Captioner", "Decoded", "Decoder", "State"],
            "models.attention": ["Attention", "ScoreAttention"],
            "models.decoders": ["LanguageModelDecoder", "RecurrentDecoder", "TransformerDecoder"],
            "models.encoders": [
                "HuggingFaceEncoder",
                "ImageEncoder",
                "SmallCNN",
                "StoredEncoder",
                "TimmEncoder",
                "TorchvisionEncoder",
            ],
            "objectives": [
                "CrossEntropy",
                "Distillation",
                "GumbelGAN",
                "HardAttentionLoss",
                "Objective",
                "PolicyGAN",
                "Preference",
                "Reward",
                "ScheduledSampling",
                "SelfCritical",
                "Staged",
                "Variational",
            ],
            "text": ["Tokenizer"],
        },
    )
