"""What is compared, in words: each run's data, checkpoint and decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from captionlab.data.summary import origin
from captionlab.evaluation.provenance import describe_checkpoint, describe_data, describe_decoding
from captionlab.runs.run import CAPTIONS, Run

MAX_SHOWN = 3  # different values that the heading tells; the table of runs tells them all


def run_facts(run: Run, metric: str) -> dict[str, str]:
    """Return what a run's scores are of: ``data``, ``checkpoint`` and ``decoding``."""
    return {
        "data": _data(run, metric.partition("/")[0]),
        "checkpoint": _checkpoint(run),
        "decoding": describe_decoding(_below(run.config, "decoding.")),
    }


def page_facts(
    runs: Sequence[Run], facts_by_run: Sequence[Mapping[str, str]], metric: str
) -> dict[str, str]:
    """Return the ``run_facts`` of all runs for a heading: what they share, or how many differ."""
    facts = {name: _joined([one[name] for one in facts_by_run]) for name in ("data", "decoding")}
    if len(runs) == 1:
        facts["checkpoint"] = facts_by_run[0]["checkpoint"]
    else:
        facts["checkpoint"] = "the best one of each run: see the runs below"
    split = metric.partition("/")[0]
    shown = _joined([_captioned(run) for run in runs if (run.path / CAPTIONS).exists()])
    if shown and shown != split:
        facts["captions"] = f"of split {shown}"
    return facts


def _joined(values: Sequence[str]) -> str:
    different = list(dict.fromkeys(values))
    if len(different) > MAX_SHOWN:
        return f"{len(different)} different ones: see the runs below"
    return "; ".join(different)


def _below(config: Mapping[str, object], prefix: str) -> dict[str, object]:
    """Return the flat settings whose names begin with the prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in config.items() if k.startswith(prefix)}


def _data(run: Run, split: str) -> str:
    stored = run.data
    settings = _below(run.config, "data.")
    if not stored:  # it is not finished, or was before runs told their data
        source = _below(settings, "source.")
        known = source or settings.get("root")
        stored = {"name": settings.get("name", "unnamed")}
        stored |= {"origin": origin({**settings, "source": source})} if known else {}
    splits = stored.get("splits")
    summary = splits.get(split) if isinstance(splits, dict) else None
    read = {**stored, **(summary if isinstance(summary, dict) else {})}
    features = settings.get("features")
    return describe_data(read, split, features=None if features == "auto" else features)


def _captioned(run: Run) -> str:
    """Return the split of which a run left captions: the first one that it tested."""
    splits = run.data.get("splits")
    return next(iter(splits), "test") if isinstance(splits, dict) else "test"


def _checkpoint(run: Run) -> str:
    file = run.path / "checkpoints" / "best.ckpt"
    if run.best_epoch is None:
        return f"{file.absolute()} (epoch not told)" if file.exists() else "none"
    if file.exists():
        return describe_checkpoint([(file, run.best_epoch + 1)])
    return f"that of epoch {run.best_epoch + 1}, which is not there any more"
