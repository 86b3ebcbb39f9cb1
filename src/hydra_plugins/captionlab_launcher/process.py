"""``hydra/launcher=process``: each job of a multirun is a fresh process, several at a time.

Hydra finds this file by its place: the package ``hydra_plugins`` belongs to nobody. It is read at
every start, so heavy things are imported when jobs are launched.
"""

# no postponed annotations: Hydra runs this file before it is a module that dataclasses can look up
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ProcessLauncherConf:
    """What ``hydra.launcher`` takes: how many jobs run at a time (null: as many as fit the GPUs)."""

    _target_: str = "hydra_plugins.captionlab_launcher.process.ProcessLauncher"
    at_a_time: int | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="process", node=ProcessLauncherConf, provider="captionlab"
)


class ProcessLauncher(Launcher):
    """Starts every job by the command line that a user would type for it alone."""

    def __init__(self, at_a_time: int | None = None) -> None:
        self.at_a_time = at_a_time

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra knows of the sweep."""
        self.context, self.config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs and return what each gave."""
        from captionlab.sweeps.launch import launch

        def compose(number: int, overrides: Sequence[str]) -> Any:
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            config.hydra._set_flag("struct", False)
            config.hydra.job.id, config.hydra.job.num = str(number), number
            return config

        return launch(
            [
                (number, list(overrides), compose(number, overrides))
                for number, overrides in enumerate(job_overrides, initial_job_idx)
            ],
            self.at_a_time,
        )
