"""A search for good settings: Optuna chooses, each trial is a run of its own, poor ones end early."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from omegaconf import DictConfig

from captionlab.core.errors import UserError, did_you_mean
from captionlab.sweeps.jobs import require_same
from captionlab.sweeps.launch import Devices, Job, Outcome, folder_of, run, wanted
from captionlab.training.loggers.table import read_table

PARTS = ("low", "high", "log", "step")
DEFAULT_MONITOR = "val/cider"


class Search:
    """Maximizes what runs return (the best validation score of their checkpoint callback).

    Args:
        space: for each key a list of choices, or ``{low, high}`` with ``log: true`` or ``step``.
        trials: how many there are to be in all, those of an earlier call included.
        at_a_time: trials at a time; null: as many as fit the GPUs, one without. seed: of the sampler.
        storage: Optuna's, such as sqlite:///FILE; null: study.db in the sweep's folder.
        prune: end trials whose score after some epochs is below the median of the others'
            (Golovin et al. 2017, section 3.2.2), once ``prune_after_trials`` are finished and this
            one has validated more than ``prune_after_epochs`` times.
        shared: overrides of every trial. compose: (number, overrides) -> its configuration.

    Raises:
        UserError: for a space that is empty or cannot be read, and without Optuna.
    """

    def __init__(
        self,
        *,
        space: Mapping[str, Any],
        trials: int,
        at_a_time: int | None,
        seed: int,
        storage: str | None,
        prune: bool,
        prune_after_trials: int,
        prune_after_epochs: int,
        shared: Sequence[str],
        compose: Callable[[int, Sequence[str]], DictConfig],
    ) -> None:
        if trials < 1:
            raise UserError(f"hydra.sweeper.trials={trials} must be at least 1")
        if not space:
            raise UserError(
                "hydra.sweeper.space is empty: say sweep=attn_lstm or another of conf/sweep, or "
                "'+hydra.sweeper.space.optimizer\\.lr={low: 1e-4, high: 1e-2, log: true}'"
            )
        self.space = {key: Range.read(key, value) for key, value in space.items()}
        for one in shared:
            key = one.partition("=")[0].lstrip("+~")
            if key in self.space:
                raise UserError(
                    f"{one} is given, and hydra.sweeper.space searches over {key}: leave one out"
                )
        self.trials, self.at_a_time, self.shared, self.compose = trials, at_a_time, shared, compose
        optuna = _optuna()
        first = compose(0, self.shared)
        folder = folder_of(first).parent
        folder.mkdir(parents=True, exist_ok=True)
        self.monitor = _monitor(first)
        pruner = (
            optuna.pruners.MedianPruner(prune_after_trials, prune_after_epochs)
            if prune
            else optuna.pruners.NopPruner()
        )
        self.study = optuna.create_study(
            study_name="captionlab",
            storage=storage or f"sqlite:///{folder / 'study.db'}",
            pruner=pruner,
            direction="maximize",
            load_if_exists=True,
        )
        # a search that goes on must not draw its first points again
        drawn = seed + len(self.study.trials)
        self.study.sampler = optuna.samplers.TPESampler(seed=drawn, constant_liar=True)
        self.folder = folder

    def run(self) -> None:
        """Run the trials that are missing, and say which was best."""
        states = _optuna().trial.TrialState
        # a trial that was under way when an earlier call ended goes on in its folder
        begun = [t for t in self.study.trials if t.state == states.RUNNING]
        done = len(self.study.trials) - len(begun)
        missing = max(0, self.trials - len(self.study.trials))
        # what a trial tries does not change how many GPUs it wants; a finished search wants none
        alike = [self._job(len(self.study.trials), {})] * max(1, len(begun) + missing)
        devices = Devices.of_machine(alike, self.at_a_time)
        print(f"{done} of {self.trials} trials are finished; study in {self.folder}", flush=True)
        with ThreadPoolExecutor(devices.count) as pool:
            waiting = [pool.submit(self._again, t, devices) for t in begun]
            waiting += [pool.submit(self._next, devices) for _ in range(missing)]
            for one in waiting:
                one.result()
        complete = [t for t in self.study.trials if t.state == states.COMPLETE]
        if not complete:
            raise UserError(f"no trial is finished: {self.folder} has a log of each")
        best = self.study.best_trial
        print(f"best       {best.value:.4f}: {' '.join(overrides_of(best.params))}")
        print(f"look at    captionlab compare {self.folder}", flush=True)

    def _next(self, devices: Devices) -> None:
        trial = self.study.ask()
        for key, part in self.space.items():
            part.suggest(trial, key)
        self._try(trial, devices)

    def _again(self, frozen: Any, devices: Devices) -> None:
        self._try(_optuna().trial.Trial(self.study, frozen._trial_id), devices)

    def _try(self, trial: Any, devices: Devices) -> None:
        states = _optuna().trial.TrialState
        # the study is a file: what it names becomes overrides of a run
        if foreign := sorted(set(trial.params) - set(self.space)):
            raise UserError(
                f"the study of {self.folder} tries {foreign[0]}, which hydra.sweeper.space lacks: "
                "choose another hydra.sweep.dir"
            )
        job = self._job(trial.number, trial.params)
        require_same(job.folder, job.overrides)
        told: set[int] = set()

        def is_poor() -> bool:
            """Report what the run has validated since; return whether it should end."""
            for epoch, row in read_table(job.folder / "metrics.csv").items():
                if self.monitor in row and epoch not in told:
                    told.add(epoch)
                    trial.report(float(row[self.monitor]), epoch)
            return bool(told) and trial.should_prune()

        outcome: Outcome = run(job, devices, self.trials, is_poor)
        is_poor()  # what was validated last: the other trials are compared with it
        if outcome.pruned:
            self.study.tell(trial, state=states.PRUNED)
        elif outcome.score is None or not math.isfinite(outcome.score):
            self.study.tell(trial, state=states.FAIL)
        else:
            self.study.tell(trial, outcome.score)

    def _job(self, number: int, params: Mapping[str, Any]) -> Job:
        own = overrides_of(params)
        overrides = [*self.shared, *own]
        config = self.compose(number, overrides)
        return Job(number, overrides, folder_of(config), wanted(config), " ".join(own))


class Range:
    """The values that a setting may take."""

    def __init__(self, choices: list[Any] | None, bounds: Mapping[str, Any]) -> None:
        self.choices, self.bounds = choices, bounds

    @classmethod
    def read(cls, key: str, value: Any) -> Range:
        """Return the range that a configuration describes.

        Raises:
            UserError: if it describes none.
        """
        where = f"hydra.sweeper.space: {key}={value!r}"
        if isinstance(value, list) and len(value) > 1:
            return cls(value, {})
        if not isinstance(value, Mapping) or not {"low", "high"} <= value.keys():
            raise UserError(f"{where} is neither a list of choices nor {{low: ..., high: ...}}")
        for name in value:
            if name not in PARTS:
                raise UserError(
                    f"{where}: {name} is no part of a range; {did_you_mean(name, PARTS)}"
                )
        if not value["low"] < value["high"]:
            raise UserError(f"{where}: low must be below high")
        if value.get("log") and not value["low"] > 0:
            raise UserError(f"{where}: a logarithmic range needs a low above 0")
        return cls(None, value)

    def suggest(self, trial: Any, key: str) -> Any:
        """Let a trial choose a value."""
        if self.choices is not None:
            return trial.suggest_categorical(key, self.choices)
        low, high = self.bounds["low"], self.bounds["high"]
        more = {name: self.bounds[name] for name in ("log", "step") if self.bounds.get(name)}
        whole = all(isinstance(n, int) for n in (low, high, more.get("step", 1)))
        return (trial.suggest_int if whole else trial.suggest_float)(key, low, high, **more)


def overrides_of(params: Mapping[str, Any]) -> list[str]:
    """Return the overrides of chosen values, floats with six digits: a run's name can be read."""
    return [
        f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in params.items()
    ]


def _monitor(config: DictConfig) -> str:
    best = config.callbacks.get("best") if config.get("callbacks") else None
    return str(best.monitor) if best and "monitor" in best else DEFAULT_MONITOR


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "sweep=optuna needs the package optuna: pip install 'captionlab[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
