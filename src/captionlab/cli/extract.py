"""Extract: store what an encoder sees of every image, to train from it many times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from captionlab.build import build_data
from captionlab.cli.predict import choose_device
from captionlab.cli.progress import progress
from captionlab.config.check import check
from captionlab.config.compose import compose
from captionlab.config.instantiate import build_part
from captionlab.config.resolve import resolve
from captionlab.core.config_types import Config
from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.files import require_folder_place
from captionlab.core.memory import Memory
from captionlab.core.modules import modes_kept
from captionlab.core.processors import available_cores
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.dataset import read_record_image
from captionlab.data.features.store import FeatureStore, write_store
from captionlab.data.images.prepare import Fit, prepare
from captionlab.data.records import CaptionRecord
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.models.encoders.layers import LAST

SETTINGS = ("out", "dtype", "splits", "device")
# values of an encoder that change nothing of what it sees, once its weights are there
UNSEEN = ("weights", "trainable", "learning_rate")
SWITCHES = ("mask_padding",)  # told where they are on: stores of earlier versions do not know them


def extract(overrides: Sequence[str]) -> int:
    """Write the feature store of a data set; return the status.

    Args:
        overrides: as of train (``model/encoder=resnet101 data=coco data.root=PATH``), and
            ``out=FOLDER``, ``dtype=float16|float32``, ``splits=train,val``, ``device=cpu``,
            ``init_from=CKPT`` for the encoder of a checkpoint.

    Raises:
        UserError: if anything cannot work; what was written stays, and a second call goes on.
    """
    own, rest = _own(overrides)
    if "out" in own:
        require_folder_place(own["out"], "out=")
    config = resolve(compose([*rest, "output_dir=unused"]))
    check({"model": {"encoder": config["model"]["encoder"]}, "data": config["data"]})
    dtype = own.get("dtype", "float16")
    if dtype not in ("float16", "float32"):
        raise UserError(f"dtype={dtype}: {did_you_mean(dtype, ('float16', 'float32'))}")
    data: CaptionDataModule = build_data(config["data"])
    splits = own["splits"].split(",") if "splits" in own else data.source.splits
    records = list({str(r.image_id): r for split in splits for r in data.records(split)}.values())
    encoder = build_part(config["model"]["encoder"], "model.encoder")
    if config["init_from"]:
        load_encoder(encoder, config["init_from"])
    key = fingerprint(encoder, config)
    default = (
        f"features/{data.name}-{config['model']['encoder'].get('name', 'encoder')}-{digest(key)}"
    )
    out = Path(own.get("out", default))
    _write(encoder, data, records, key, out, dtype, choose_device(own.get("device", "auto")))
    return 0


def _write(
    encoder: Any,
    data: CaptionDataModule,
    records: list[CaptionRecord],
    key: dict[str, object],
    out: Path,
    dtype: str,
    device: str,
) -> None:
    with (
        encoding(encoder, encoder.image_size, data.fit, device) as encode,
        progress("extracting", len(records), transient=True) as advance,
    ):
        write_store(
            out,
            records,
            key,
            encode,
            dtype=dtype,
            batch_size=data.batch_size,
            progress=advance,
        )
    store = FeatureStore(out)
    size = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    memory = store.read(records[0].image_id)
    count, width = memory.slots.shape
    print(
        f"{len(store):,} images of {count:,} x {width:,} slots and a vector of {len(memory.pooled):,}, "
        f"{size:,.0f} MB; train from it with data.features={out}"
    )


@contextmanager
def encoding(
    encoder: torch.nn.Module, image_size: int, fit: Fit, device: str | torch.device
) -> Iterator[Callable[[Sequence[CaptionRecord]], Memory]]:
    """Give a function from records to their memory; images are read on all cores.

    The encoder is brought to the device for it, in evaluation mode, and back.
    """
    before = next((p.device for p in encoder.parameters()), torch.device("cpu"))

    def read(record: CaptionRecord) -> torch.Tensor:
        return prepare(read_record_image(record, image_size), image_size, fit)

    @torch.inference_mode()
    def encode(batch: Sequence[CaptionRecord]) -> Memory:
        memory: Memory = encoder(torch.stack(list(pool.map(read, batch))).to(device))
        return memory

    with ThreadPoolExecutor(available_cores()) as pool, modes_kept(encoder):
        encoder.to(device).eval()
        try:
            yield encode
        finally:
            encoder.to(before)


def fingerprint(encoder: torch.nn.Module, config: Config) -> dict[str, object]:
    """Return what decides the memory of an image: encoder, its weights, the image's transform."""
    settings = {k: v for k, v in config["model"]["encoder"].items() if k not in UNSEEN}
    settings = {k: v for k, v in settings.items() if v or k not in SWITCHES}
    settings = _as_read(settings, getattr(encoder, "layer_indices", None))
    # an encoder from elsewhere tells its own, which a run writes into its configuration
    architecture = getattr(encoder, "architecture", None)
    if architecture is not None:
        settings["architecture"] = architecture
    weights = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        weights.update(name.encode())
        # as bytes: numpy knows no bfloat16
        weights.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return {
        "encoder": json.dumps(settings, sort_keys=True),
        "weights": weights.hexdigest()[:16],
        "fit": config["data"]["fit"],
    }


def _as_read(settings: dict[str, object], indices: tuple[int, ...] | None) -> dict[str, object]:
    """Return an encoder's settings with layers counted in one way, and none that choose nothing.

    So stores that were made before there was a choice go on fitting. What ``layers`` means to an
    encoder without ``layer_indices``, one of a user's own, is not known: it stays as it is.
    """
    chosen = dict(settings)
    if indices is not None and isinstance(chosen.get("layers"), list):
        chosen["layers"] = None if indices == LAST else list(indices)
    return {
        key: value
        for key, value in chosen.items()
        if value is not None or key not in ("layers", "pooled", "pooled_dim")
    }


def digest(key: Mapping[str, object]) -> str:
    """Return eight letters that stand for a key."""
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:8]


def check_features(config: Config, data: CaptionDataModule, encoder: Any) -> None:
    """Check that stored features are what this run's encoder would see.

    Raises:
        UserError: if another encoder, other weights or another transform made them, if the encoder
            is to learn, or if regions are given to a model with an encoder of its own.
    """
    if data.features is None:
        return
    if any(parameter.requires_grad for parameter in encoder.parameters()):
        raise UserError(
            f"data.features={data.features.path}: an encoder cannot learn from what it saw earlier; "
            "say model.encoder.trainable=none"
        )
    bare = not list(encoder.parameters())
    if isinstance(data.features, FeatureStore):
        if not bare:
            data.features.require_key(fingerprint(encoder, config))
    elif not bare:
        raise UserError(
            f"data.features={data.features.path} holds regions, which no encoder here can make: "
            "say model/encoder=regions"
        )


def load_encoder(encoder: torch.nn.Module, path: str) -> None:
    """Copy the encoder of a checkpoint into ``encoder``.

    Raises:
        UserError: if it does not fit.
    """
    prefix = "encoder."
    weights = read_checkpoint(path).weights
    own = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise UserError(f"init_from={path} has another encoder: {reason}") from error


def _own(overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    own, rest = {}, []
    for override in overrides:
        name, sign, value = override.partition("=")
        if sign and name in SETTINGS:
            own[name] = value
        else:
            rest.append(override)
    return own, rest
