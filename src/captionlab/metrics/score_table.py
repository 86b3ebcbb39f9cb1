"""The corpus scores by name: what tables, monitors and comparisons must know of each.

A score that ``SplitScorer`` computes and that is not listed here is logged and printed all the same,
behind those that are.
"""

from __future__ import annotations

from dataclasses import dataclass

OF_ANSWERS = "only answers to questions have it"
NO_WORDNET = "only answers in English have it, where WordNet is: pip install 'captionlab[wups]'"
OF_SEVERAL = "several captions of an image are compared for it: say samples=5"

OF_STYLES = "only data=shapes_styles knows of styles and of a scene's facts"


@dataclass(frozen=True)
class ScoreInfo:
    """How a score is shown and compared, and why a run may not have it.

    ``digits`` behind the point; ``absence`` completes "this run has no such score; ...".
    """

    digits: int = 3
    lower_is_better: bool = False
    absence: str = ""


SCORES: dict[str, ScoreInfo] = {  # in the order in which they are shown
    "vqa_accuracy": ScoreInfo(
        absence="only questions with several answers each have it: exact_match scores single ones"
    ),
    "exact_match": ScoreInfo(absence=OF_ANSWERS),
    "wups_09": ScoreInfo(absence=NO_WORDNET),
    "wups_00": ScoreInfo(absence=NO_WORDNET),
    **{f"bleu_{order}": ScoreInfo() for order in range(1, 5)},
    "meteor": ScoreInfo(
        absence="METEOR is left out: meteor=false, a language that it does not know, or no Java"
    ),
    "rouge_l": ScoreInfo(),
    "cider": ScoreInfo(),
    "truth": ScoreInfo(absence="only the built-in data can tell whether a caption is true"),
    "style_obeyed": ScoreInfo(absence=OF_STYLES),
    "fact_precision": ScoreInfo(absence=OF_STYLES),
    "fact_recall": ScoreInfo(absence=OF_STYLES),
    "loss": ScoreInfo(lower_is_better=True),
    "div_1": ScoreInfo(absence=OF_SEVERAL),
    "div_2": ScoreInfo(absence=OF_SEVERAL),
    "mbleu": ScoreInfo(lower_is_better=True, absence=OF_SEVERAL),
    "self_cider": ScoreInfo(absence=OF_SEVERAL),
    "oracle_cider": ScoreInfo(absence=OF_SEVERAL),
    "average_cider": ScoreInfo(absence=OF_SEVERAL),
    "balance": ScoreInfo(absence=OF_SEVERAL),
    "vocabulary": ScoreInfo(digits=0),
    "novel": ScoreInfo(absence="the data have no training split to compare with"),
    "length": ScoreInfo(),
    "length_deviation": ScoreInfo(),
    "tags_map": ScoreInfo(absence="the model has no tags: say model/tags=default"),
}
PLAIN = ScoreInfo()


def score_info(name: str) -> ScoreInfo:
    """Return what is known of a score, or of a group's such as ``zh/cider``.

    Of one that is not listed it is what most scores are.
    """
    return SCORES.get(name.rpartition("/")[2], PLAIN)


def in_order(names: set[str]) -> list[str]:
    """Return names of scores as they are shown: those of ``SCORES``, then the others by name."""
    return [*(name for name in SCORES if name in names), *sorted(names - SCORES.keys())]
