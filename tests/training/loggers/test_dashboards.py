import json
import subprocess
import sys
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.training.loggers import dashboards
from tests_support import HANG


@pytest.fixture(autouse=True)
def no_wandb_settings(monkeypatch: pytest.MonkeyPatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_an_unreachable_server_is_told_within_seconds(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"logger\.wandb\.mode=online.*offline"):
        dashboards.weights_and_biases(save_dir=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_mode_gets_the_nearest(tmp_path: Path):
    with pytest.raises(UserError, match="did you mean 'offline'"):
        dashboards.weights_and_biases(save_dir=str(tmp_path), mode="ofline")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(dashboards.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"captionlab\[wandb\]"):
        dashboards.weights_and_biases(save_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"captionlab\[tensorboard\]"):
        dashboards.tensorboard(save_dir=str(tmp_path))


OFFLINE = """
import sys
from pathlib import Path
import numpy as np
import torch
from captionlab.training.loggers.dashboards import weights_and_biases
from captionlab.evaluation.attention_maps import AttentionMaps
from captionlab.evaluation.gallery import Example

logger = weights_and_biases(
    save_dir=sys.argv[1], mode="offline", tags=["a"], name="run", images=1, checkpoint=True,
    sweep="study", job_title="seed=2",
)
logger.log_hyperparams({"model": {"name": "tiny", "decoder": {"hidden": 7}}})
for step, cider in enumerate((0.25, 0.75, 0.5)):
    logger.log_metrics({"val/cider": cider, "val/loss": 3 - cider}, step=step)
image = np.zeros((8, 8, 3), np.uint8)
looked = {"attention": AttentionMaps(torch.rand(2, 4, 4)), "words": ["a", "dog"]}
examples = [
    Example(image=image, image_id=i, caption="a dog", references=["x"], **looked) for i in range(3)
]
logger.log_examples(examples, "val", 0)
best = Path(sys.argv[1]) / "best.ckpt"
best.write_bytes(b"weights")
logger.conclude(best, failed=False)
# the next run of the same process, as in a sweep without processes of its own
again = weights_and_biases(save_dir=sys.argv[1] + "/second", mode="offline", name="other")
again.log_metrics({"val/cider": 0.1}, step=0)
again.conclude(None, failed=True)
"""


@pytest.mark.slow
def test_an_offline_run_holds_config_scores_and_the_table_of_captions(tmp_path: Path):
    # a process of its own: the client keeps one set of settings a process
    code = [sys.executable, "-c", OFFLINE, str(tmp_path)]
    subprocess.run(code, check=True, capture_output=True, timeout=HANG)
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    wandb = Path(sys.executable).parent / "wandb"
    command = [str(wandb), "leet", "inspect", "--json", str(run)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    records = [json.loads(line) for line in told.splitlines()]
    (about,) = [record["run"] for record in records if "display_name" in record.get("run", {})]
    assert about["run_group"] == "study"
    assert about["display_name"] == "seed=2"
    assert about["tags"] == ["a"]
    settings: dict = {}
    for record in records:
        settings |= record.get("config", {}).get("update", {})
    assert settings["model.decoder.hidden"] == 7
    assert settings["model.name"] == "tiny"
    summary: dict = {}
    for record in records:
        summary |= record.get("summary", {}).get("update", {})
    assert (summary["val/cider"], summary["val/loss"]) == (0.75, 2.25)  # of one epoch, the best
    (table,) = run.rglob("*.table.json")
    shown = json.loads(table.read_text())
    assert len(shown["data"]) == 1
    assert shown["columns"][2:4] == ["image", "attention"]
    (model,) = (r["artifact"] for r in records if r.get("artifact", {}).get("type") == "model")
    assert set(model["aliases"]) == {"best", "latest"}
    assert [entry["path"] for entry in model["manifest"]["contents"]] == ["best.ckpt"]
    (exit_code,) = (record["exit"] for record in records if "exit" in record)
    assert not exit_code.get("exit_code")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "second", "wandb"]
    assert len(list((tmp_path / "second/wandb").glob("offline-run-*"))) == 1
