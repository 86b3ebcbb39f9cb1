"""Features that a run stores by itself: what a frozen encoder sees is the same every epoch."""

from __future__ import annotations

import hashlib
import inspect
import logging
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

import captionlab
from captionlab.cli.extract import digest, encoding, fingerprint
from captionlab.cli.progress import progress
from captionlab.core import padding
from captionlab.core.caches import VARIABLE, cache_folder
from captionlab.core.config_types import Config
from captionlab.core.errors import UserError, about_file, first_line
from captionlab.core.memory import Memory
from captionlab.core.modules import modes_kept
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.features.cache import FeatureCache
from captionlab.data.features.filling import GIB, Filling, HeldStore, folder_size
from captionlab.data.images.files import BrokenImage
from captionlab.data.records import CaptionRecord
from captionlab.data.summary import origin
from captionlab.models import encoders

log = logging.getLogger("captionlab")

DTYPE = "float32"
# whose code has versions of its own, which change nothing beyond rounding
LIBRARIES = ("torch", "torchvision", "timm", "transformers")

Read = Callable[[Sequence[str], Collection[str]], None]


@contextmanager
def auto_features(
    config: Config,
    data: CaptionDataModule,
    encoder: nn.Module | None,
    device: torch.device | str = "cpu",
) -> Iterator[Read]:
    """Give ``read(splits, complete)``: the data read these splits from the run's store where they can.

    What is missing of the splits ``complete`` is stored before, and said in one line. Where there is
    no store to be had images are read as ever: it saves time and changes no number. So it is without
    ``data.features=auto``, for an encoder that learns or none, and for augmented or drawn images.

    Args:
        config: of the run; its model is that of ``encoder``.
        device: where the encoder looks at what is not stored yet.
    """
    if encoder is None or not may_store(data) or not is_frozen(encoder):
        yield lambda splits, complete: None
        return
    key = fingerprint(encoder, config)
    name = store_name(config, {**key, **details(encoder, config, data)}, data)
    cache = FeatureCache(cache_folder() / "features", int(data.features_cache_gib * GIB))
    with HeldStore(cache, name, key, DTYPE) as store:
        yield StoreReader(store, data, encoder, device).read


class StoreReader:
    """Lets data read from a store what it has, or can be filled with."""

    def __init__(
        self,
        store: HeldStore,
        data: CaptionDataModule,
        encoder: nn.Module,
        device: torch.device | str,
    ) -> None:
        self._store = store
        self._data = data
        self._encoder = encoder
        self._device = device
        self._failed = False  # said once

    def read(self, splits: Sequence[str], complete: Collection[str]) -> None:
        """Read splits from the store: those of ``complete`` at any rate, others if they are there."""
        if self._failed:
            return
        photographs = [split for split in splits if _are_files(self._records(split))]
        try:
            self._read([split for split in photographs if split in complete], fill=True)
            for split in photographs:
                if split not in complete:
                    self._read([split], fill=False)
        except BrokenImage:
            raise  # an epoch of images would come to it too
        except (OSError, UserError) as error:
            self._failed = True
            about = about_file(error) if isinstance(error, OSError) else str(error)
            log.warning(
                "features   not stored, each epoch reads the images: %s (%s names another folder)",
                about or first_line(error),
                VARIABLE,
            )

    def _records(self, split: str) -> Sequence[CaptionRecord]:
        data = self._data
        return data.training_records() if split == "train" else data.records(split)

    def _read(self, splits: Sequence[str], *, fill: bool) -> None:
        if not splits:
            return
        records = [record for split in splits for record in self._records(split)]
        start = time.monotonic()
        before = _bytes(self._store.path)
        with self._filling() if fill else nullcontext() as filling:
            stored = self._store.open(records, filling)
        if stored is None:
            return
        self._data.read_from(stored, splits)
        after = _bytes(self._store.path)
        how = f"stored in {time.monotonic() - start:.0f} s" if after > before else "read"
        log.info(
            "features   %s images of %s %s: %s (%.0f MB; data.features=null reads the images)",
            f"{len(records):,}",
            " and ".join(splits),
            how,
            stored.path,
            after / 1e6,
        )

    @contextmanager
    def _filling(self) -> Iterator[Filling]:
        data, encoder = self._data, self._encoder
        with encoding(encoder, data.image_size, data.fit, self._device) as encode:
            yield Filling(
                _checked(encoder, encode),
                data.batch_size,
                lambda images: progress("storing features", images, transient=True),
            )


def may_store(data: CaptionDataModule) -> bool:
    """Return whether an encoder would see the same of every image in every epoch.

    Where ``data.cache_images`` asks for images in memory, that is what is done.
    """
    return (
        data.auto_features and data.augment is None and not data.blank_images
    ) and not data.cache_images


def is_frozen(encoder: nn.Module) -> bool:
    """Return whether nothing of an encoder learns, and nothing in it is different in training."""
    parameters = list(encoder.parameters())
    if not parameters or any(parameter.requires_grad for parameter in parameters):
        return False
    changing = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
    with modes_kept(encoder):
        encoder.train()
        return not any(m.training and isinstance(m, changing) for m in encoder.modules())


def whole_splits(trainer: pl.Trainer, data: CaptionDataModule) -> set[str]:
    """Return the splits whose images the trainer reads all: of others a store would not pay."""
    tested = set(data.source.splits) - {"train", "val"}
    steps_end_first = 0 < trainer.max_steps * data.batch_size < len(data.records("train"))
    limits: list[tuple[int | float, set[str]]] = [
        (trainer.limit_train_batches, set() if steps_end_first else {"train"}),
        (trainer.limit_val_batches, {"val"}),
        (trainer.limit_test_batches, tested),
    ]
    # a whole number counts batches: 1 is one of them, 1.0 is all
    return {split for limit, of in limits if limit == 1.0 and type(limit) is float for split in of}


def details(encoder: nn.Module, config: Config, data: CaptionDataModule) -> dict[str, object]:
    """Return what else decides the memory of the data's images: a change makes another store.

    That is where they are, and the code that looks at them; nobody would notice by the numbers.
    """
    classes = {base for module in encoder.modules() for base in type(module).__mro__}
    own = {c for c in classes if c.__module__.partition(".")[0] not in (*LIBRARIES, "builtins")}
    code = hashlib.sha256()
    # what the encoders share is no class of their modules, and stands beside them; and what tells bars
    shared = [*map(str, Path(encoders.__path__[0]).glob("*.py")), padding.__file__]
    for file in sorted({*filter(None, map(_source_file, own)), *shared}):
        code.update(Path(file).read_bytes())
    return {
        "origin": origin(config["data"]),
        "image_size": data.image_size,
        "code": f"{captionlab.__version__} {code.hexdigest()[:16]}",
        "dtype": DTYPE,
    }


def _source_file(kind: type) -> str | None:
    try:
        return inspect.getsourcefile(kind)
    except (TypeError, OSError):  # of a notebook, or of a module without a file
        return None


def store_name(config: Config, key: Mapping[str, object], data: CaptionDataModule) -> str:
    """Return the name of the folder of the store with a key: it tells data and encoder."""
    encoder = config["model"]["encoder"].get("name", "encoder")
    name = f"{data.name}-{encoder}-{digest(key)}"
    return re.sub(r"[^\w.-]+", "_", name)[-200:]


def _are_files(records: Sequence[CaptionRecord]) -> bool:
    # drawn images stay in memory, and the encoder of the built-in data is small
    return all(isinstance(record.image, Path) for record in records)


def _bytes(path: Path) -> int:
    return folder_size(path) if path.is_dir() else 0


def _checked(
    encoder: nn.Module, encode: Callable[[Sequence[CaptionRecord]], Memory]
) -> Callable[[Sequence[CaptionRecord]], Memory]:
    """Return ``encode`` that refuses what a store cannot hold: regions, or numbers of slots that vary."""
    shape: list[torch.Size] = []

    def checked(records: Sequence[CaptionRecord]) -> Memory:
        memory = encode(records)
        shape.append(memory.slots.shape[1:])
        if memory.boxes is not None or shape[0] != shape[-1]:
            raise UserError(f"{type(encoder).__name__} gives no grid of the same size for all")
        return memory

    return checked
