"""Scores of captions, equal to coco-caption's (BLEU, ROUGE-L, CIDEr-D, METEOR), and of answers."""

from captionlab.metrics.answers import exact_match, normalize_answer, vqa_accuracy
from captionlab.metrics.caption_metrics import CaptionMetrics
from captionlab.metrics.cider import CiderD
from captionlab.metrics.meteor import Meteor
from captionlab.metrics.ngrams import RougeL, bleu
from captionlab.metrics.references import Candidates, PreparedReferences
from captionlab.metrics.split_scorer import Scores, SplitScorer

__all__ = [
    "Candidates",
    "CaptionMetrics",
    "CiderD",
    "Meteor",
    "PreparedReferences",
    "RougeL",
    "Scores",
    "SplitScorer",
    "bleu",
    "exact_match",
    "normalize_answer",
    "vqa_accuracy",
]
