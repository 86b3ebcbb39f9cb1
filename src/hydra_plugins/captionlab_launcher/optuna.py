"""``hydra/sweeper=tpe``: a multirun whose points are chosen by what the ones before scored."""

# no postponed annotations: Hydra runs this file before it is a module that dataclasses can look up
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class TpeSweeperConf:
    """What ``hydra.sweeper`` takes; conf/sweep/optuna.yaml explains it."""

    _target_: str = "hydra_plugins.captionlab_launcher.optuna.TpeSweeper"
    space: dict[str, Any] = field(default_factory=dict)
    trials: int = 20
    at_a_time: int | None = None
    seed: int = 1
    storage: str | None = None
    prune: bool = True
    prune_after_trials: int = 5
    prune_after_epochs: int = 1


ConfigStore.instance().store(
    group="hydra/sweeper", name="tpe", node=TpeSweeperConf, provider="captionlab"
)


class TpeSweeper(Sweeper):
    """Hands a search over to ``captionlab.sweeps.search``."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra knows of the sweep."""
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        """Search; ``arguments`` are the overrides that all trials share."""
        from captionlab.sweeps.search import OptunaSearch

        def compose(number: int, overrides: Sequence[str]) -> Any:
            assert self.hydra_context is not None
            assert self.config is not None
            loader = self.hydra_context.config_loader
            config = loader.load_sweep_config(self.config, list(overrides))
            config.hydra._set_flag("struct", False)
            config.hydra.job.id, config.hydra.job.num = str(number), number
            return config

        settings = OmegaConf.to_container(OmegaConf.create(self.settings), resolve=True)
        OptunaSearch(**settings, shared=arguments, compose=compose).run()  # type: ignore[arg-type]
