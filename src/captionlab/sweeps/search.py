"""A search for good settings: Optuna chooses, each trial is a run of its own, poor ones end early."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from captionlab.core.errors import UserError
from captionlab.sweeps.devices import DevicePool, num_devices
from captionlab.sweeps.jobs import Job, require_same
from captionlab.sweeps.launch import job_folder
from captionlab.sweeps.processes import Outcome, run_job
from captionlab.sweeps.space import params_as_overrides, read_space
from captionlab.training.loggers.table import read_table

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

DEFAULT_MONITOR = "val/cider"


class OptunaSearch:
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
        space: Mapping[str, object],
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
        self.space = read_space(space, shared)
        self.trials, self.at_a_time, self.shared, self.compose = trials, at_a_time, shared, compose
        optuna = _optuna()
        first = compose(0, self.shared)
        self.folder = job_folder(first).parent
        self.folder.mkdir(parents=True, exist_ok=True)
        self.monitor = _monitor(first)
        pruners = optuna.pruners
        self.study = optuna.create_study(
            study_name="captionlab",
            storage=storage or f"sqlite:///{self.folder / 'study.db'}",
            pruner=pruners.MedianPruner(prune_after_trials, prune_after_epochs)
            if prune
            else pruners.NopPruner(),
            direction="maximize",
            load_if_exists=True,
        )
        # a search that goes on must not draw its first points again
        sampler_seed = seed + len(self.study.trials)
        self.study.sampler = optuna.samplers.TPESampler(seed=sampler_seed, constant_liar=True)

    def run(self) -> None:
        """Run the trials that are missing, and say which was best."""
        states = _optuna().trial.TrialState
        # a trial that was under way when an earlier call ended goes on in its folder
        interrupted = [t for t in self.study.trials if t.state == states.RUNNING]
        done = len(self.study.trials) - len(interrupted)
        missing = max(0, self.trials - len(self.study.trials))
        # what a trial tries does not change how many GPUs it asks for; a finished search needs none
        jobs = [self._job(len(self.study.trials), {})] * max(1, len(interrupted) + missing)
        devices = DevicePool.of_machine(jobs, self.at_a_time)
        print(f"{done} of {self.trials} trials are finished; study in {self.folder}", flush=True)
        with ThreadPoolExecutor(devices.count) as pool:
            futures = [pool.submit(self._resume_trial, t, devices) for t in interrupted]
            futures += [pool.submit(self._new_trial, devices) for _ in range(missing)]
            for future in futures:
                future.result()
        complete = [t for t in self.study.trials if t.state == states.COMPLETE]
        if not complete:
            raise UserError(f"no trial is finished: {self.folder} has a log of each")
        best = self.study.best_trial
        print(f"best       {best.value:.4f}: {' '.join(params_as_overrides(best.params))}")
        print(f"look at    captionlab compare {self.folder}", flush=True)

    def _new_trial(self, devices: DevicePool) -> None:
        trial = self.study.ask()
        for key, values in self.space.items():
            values.suggest(trial, key)
        self._run_trial(trial, devices)

    def _resume_trial(self, frozen: FrozenTrial, devices: DevicePool) -> None:
        self._run_trial(_optuna().trial.Trial(self.study, frozen._trial_id), devices)

    def _run_trial(self, trial: Trial, devices: DevicePool) -> None:
        states = _optuna().trial.TrialState
        # the study is a file: what it names becomes overrides of a run
        if foreign := sorted(set(trial.params) - set(self.space)):
            raise UserError(
                f"the study of {self.folder} tries {foreign[0]}, which hydra.sweeper.space lacks: "
                "choose another hydra.sweep.dir"
            )
        job = self._job(trial.number, trial.params)
        require_same(job.folder, job.overrides)
        reported: set[int] = set()

        def should_prune() -> bool:
            """Report what the run has validated since; return whether it should end."""
            for epoch, row in read_table(job.folder / "metrics.csv").items():
                if self.monitor in row and epoch not in reported:
                    reported.add(epoch)
                    trial.report(float(row[self.monitor]), epoch)
            return bool(reported) and trial.should_prune()

        outcome: Outcome = run_job(job, devices, self.trials, should_prune)
        should_prune()  # what was validated last: the other trials are compared with it
        if outcome.pruned:
            self.study.tell(trial, state=states.PRUNED)
        elif outcome.score is None or not math.isfinite(outcome.score):
            self.study.tell(trial, state=states.FAIL)
        else:
            self.study.tell(trial, outcome.score)

    def _job(self, number: int, params: Mapping[str, object]) -> Job:
        chosen = params_as_overrides(params)
        overrides = [*self.shared, *chosen]
        config = self.compose(number, overrides)
        return Job(number, overrides, job_folder(config), num_devices(config), " ".join(chosen))


def _monitor(config: DictConfig) -> str:
    best = config.callbacks.get("best") if config.get("callbacks") else None
    return str(best.monitor) if best and "monitor" in best else DEFAULT_MONITOR


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "sweep=optuna needs the package optuna: pip install 'captionlab[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
