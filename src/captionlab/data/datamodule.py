"""The LightningDataModule of image-caption pairs: splits, tokenizer, loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from captionlab.core.errors import UserError
from captionlab.core.processors import available_cores
from captionlab.data.collate import Collate
from captionlab.data.dataset import CaptionBatch, CaptionDataset
from captionlab.data.features.regions import open_features
from captionlab.data.features.store import Features
from captionlab.data.images.prepare import Augment, Fit
from captionlab.data.mixing import Extra
from captionlab.data.order import EvaluationSampler, TrainingLoader, TrainingSampler
from captionlab.data.prompt_tokens import fit_with_prompts
from captionlab.data.records import CaptionRecord, CaptionSource
from captionlab.data.scored_records import ids_by_prompt, in_language, scored_records
from captionlab.data.settings import require_images_unused, require_positive, require_size
from captionlab.data.source_scores import SourceScores
from captionlab.data.splits import SplitReader
from captionlab.text.prompts import Prompt
from captionlab.text.tokenizers import Tokenizer, for_language

AUTO = "auto"
CACHE_BYTES = 2**30  # prepared images of all splits up to this size stay in memory


class CaptionDataModule(pl.LightningDataModule):
    """Feeds image-caption pairs of one source to the trainer.

    Args:
        name: what tables and run folders call the data.
        source: reads the records. tokenizer: called with the training captions, fits a tokenizer.
        image_size: pixels a side that the encoder reads. fit: how an image gets there.
        captions_per_image: K of a training batch.
        batch_size: images of a batch, all processes together.
        max_length: longest training caption, and longest question, in tokens.
        missing_images: "error" or "skip". broken_images: the same.
        augment: changes training images; null for none.
        extra: pairs of another source for the training split alone; null for none.
        cache_images: keep prepared images in memory; null decides by their size (1 GiB at most).
        num_workers: loading processes; null means none where images are cached, else one a core.
        blank_images: replace every image by gray (the ablation "what does the language model know?").
        features: what is read in place of the images: the path of a store of captionlab extract, or
            of published regions (npz folder, tsv, h5), and then the images need not be there; "auto"
            for a store that a run fills by itself where its encoder is frozen (``read_from``); null
            for the images.
        features_cache_gib: how large the stores may be together that runs fill by themselves.
        prompts: whether what the data give before a caption (its question, its style) is read; without
            it captions stand alone.

    Raises:
        UserError: if a split is empty, missing, or its images are and the policy says "error".
    """

    def __init__(
        self,
        *,
        name: str,
        source: CaptionSource,
        tokenizer: Callable[[Iterable[str]], Tokenizer],
        image_size: int,
        fit: Fit = "stretch",
        batch_size: int = 32,
        num_workers: int | None = None,
        captions_per_image: int = 5,
        max_length: int = 40,
        missing_images: str = "error",
        broken_images: str = "error",
        augment: Augment | None = None,
        extra: Extra | None = None,
        cache_images: bool | None = None,
        blank_images: bool = False,
        features: str | None = AUTO,
        features_cache_gib: float = 20.0,
        prompts: bool = True,
    ):
        super().__init__()
        require_positive(
            batch_size=batch_size, captions_per_image=captions_per_image, max_length=max_length
        )
        if num_workers is not None and num_workers < 0:
            raise UserError(f"data.num_workers={num_workers} must be 0 or more, or null.")
        require_size(features_cache_gib)
        self.name = name
        self.source = source
        self.image_size = image_size
        self.fit = fit
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.captions_per_image = captions_per_image
        self.max_length = max_length
        self.augment = augment
        self.extra = extra
        self.cache_images = cache_images
        self.blank_images = blank_images
        self.auto_features = features == AUTO
        self.features_cache_gib = features_cache_gib
        self.features = None
        if features is not None and features != AUTO:
            self.features = open_features(features)
            require_images_unused(features, augment, extra, blank_images)
        self.evaluation_split = "test"
        self.retrieves = False  # whether captions of similar images will stand before each caption
        self._fit_tokenizer = tokenizer
        self._tokenizer: Tokenizer | None = None
        self._splits = SplitReader(
            name,
            source,
            missing_images=missing_images,
            broken_images=broken_images,
            features=self.features,
            extra=extra,
            prompts=prompts,
        )
        self._scored: dict[str, Sequence[CaptionRecord]] = {}
        self._source_scores = SourceScores(source)
        self._datasets: dict[str, CaptionDataset] = {}
        self._stored: dict[str, Features] = {}  # by split, where ``features`` are none of all
        self._training: TrainingLoader | None = None
        self._resumed: dict[str, int] = {}
        # of the run, on every rank: later each rank draws by a seed of its own
        self._seed = torch.initial_seed() % 2**31

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, fitted on the training split at first use unless one was given."""
        if self._tokenizer is None:
            self._tokenizer = fit_with_prompts(
                self.fit_tokenizer, self.training_records(), retrieves=self.retrieves
            )
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def fit_tokenizer(self, captions: Iterable[str]) -> Tokenizer:
        """Return a tokenizer of other captions, fitted as that of the training split is."""
        return for_language(self._fit_tokenizer, self.source.language)(captions)

    @property
    def truth(self) -> Callable[[int | str, str], bool] | None:
        """Decides whether a caption is true of an image, where the source can tell."""
        return self._source_scores.truth

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores that ``caption_scores`` gives, none where the source brings none."""
        return self._source_scores.names

    def caption_scores(self, image_id: int | str, caption: str) -> Mapping[str, float | None]:
        """Return the source's own scores of a caption behind what was asked of its image."""
        return self._source_scores.scores(image_id, caption)

    def records(self, split: str) -> Sequence[CaptionRecord]:
        """Return a split's records whose images can be read, the policies applied once.

        Raises:
            UserError: for an unknown or empty split, and for images the policies do not forgive.
        """
        return self._splits.records(split)

    def scored_records(self, split: str) -> Sequence[CaptionRecord]:
        """Return a split's records as they are scored: one for each prompt of an image.

        A captioner of several languages is asked for that of the data; who has no tokenizer, such as
        one that only shows pictures, needs none for it.

        Raises:
            UserError: as ``records`` does.
        """
        if split not in self._scored:
            records = self.records(split)
            # to look at records no tokenizer is needed, and none is fitted for it
            if self._tokenizer is not None and self._tokenizer.languages:
                records = in_language(records, self.source.language)
            self._scored[split] = scored_records(records)
            self._source_scores.remember_records(self._scored[split])
        return self._scored[split]

    def prompt(self, image_id: int | str) -> Prompt:
        """Return what is given before the caption of a scored record."""
        return self._source_scores.prompt(image_id)

    def training_records(self) -> Sequence[CaptionRecord]:
        """Return the training split's records, and behind them those of the extra source, if any.

        Raises:
            UserError: as ``records`` does.
        """
        return self._splits.training_records()

    @property
    def fit_splits(self) -> tuple[str, ...]:
        """The splits that training reads: train, and val unless there is none and none is wanted."""
        unwanted = self.trainer is not None and self.trainer.limit_val_batches == 0
        return ("train",) if unwanted and "val" not in self.source.splits else ("train", "val")

    def dataset(self, split: str) -> CaptionDataset:
        """Return a split's data set (the one object for all epochs, so that its cache serves them)."""
        if split not in self._datasets:
            training, tokenizer = split == "train", self.tokenizer  # what is scored depends on it
            records = self.training_records() if training else self.scored_records(split)
            self._datasets[split] = CaptionDataset(
                records,
                tokenizer,
                image_size=self.image_size,
                fit=self.fit,
                captions_per_image=self.captions_per_image if training else None,
                max_length=self.max_length,
                augment=self.augment if training else None,
                cache=self._cached(len(records)),
                blank=self.blank_images,
                features=self._stored.get(split, self.features),
            )
        return self._datasets[split]

    def read_from(self, features: Features, splits: Iterable[str]) -> None:
        """Read stored features in place of the images of these splits from now on.

        They hold every image of ``training_records`` or ``records``, as the encoder sees it.
        """
        for split in splits:
            self._stored[split] = features
            if split in self._datasets:
                self._datasets[split].read_from(features)

    def training_ids(self) -> dict[int | str, list[list[int]]]:
        """Return the token ids of each training image's captions, each with its end token.

        Where something is given before them, those of each prompt, by its ``scored_id``.

        Raises:
            UserError: if two prompts have one id.
        """
        dataset = self.dataset("train")
        captions = map(dataset.encoded, range(len(dataset)))
        return ids_by_prompt(dataset.records, captions, self._source_scores.remember)

    def setup(self, stage: str | None = None) -> None:
        """Read and check the splits before the first step, not at the first validation."""
        if stage == "fit":
            for split in self.fit_splits:
                self.dataset(split)
        elif stage == "test":
            self.dataset(self.evaluation_split)

    def train_dataloader(self) -> DataLoader[CaptionBatch]:
        """Return this rank's shuffled training batches; a ragged last one is left to the next epoch."""
        self.require_even_batches()
        dataset = self.dataset("train")
        rank, ranks = self._rank
        own = len(self.records("train"))
        sampler = TrainingSampler(
            own,
            extra=len(dataset) - own,
            share=self.extra.share if self.extra else 0.0,
            rank=rank,
            ranks=ranks,
            seed=self._seed,
        )
        loader = self._loader(
            dataset,
            TrainingLoader,
            self.device_batch_size,
            sampler=sampler,
            drop_last=len(dataset) >= 2 * self.batch_size,
        )
        assert isinstance(loader, TrainingLoader)
        self._training = loader
        loader.load_state_dict(self._resumed)
        return loader

    def state_dict(self) -> dict[str, int]:
        """Return how far this epoch's training batches are, for a checkpoint."""
        return {} if self._training is None else self._training.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the batch that comes next.

        Lightning would ask the loader itself, but has made its iterator before it reads a checkpoint
        where a schedule asked for the number of steps.
        """
        self._resumed = state_dict
        if self._training is not None:
            self._training.load_state_dict(state_dict)

    def val_dataloader(self) -> DataLoader[CaptionBatch]:
        """Return the validation batches of this rank."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[CaptionBatch]:
        """Return the batches of ``evaluation_split`` of this rank."""
        return self._evaluation_loader(self.evaluation_split)

    def whole_dataloader(self, split: str) -> DataLoader[CaptionBatch]:
        """Return batches of all of a split in its order, the same on every process."""
        return self._loader(self.dataset(split), DataLoader, self.batch_size)

    def _evaluation_loader(self, split: str) -> DataLoader[CaptionBatch]:
        dataset = self.dataset(split)
        rank, ranks = self._rank
        sampler = EvaluationSampler(len(dataset), rank, ranks) if ranks > 1 else None
        # what is only scored may be dealt unevenly
        return self._loader(dataset, DataLoader, -(-self.batch_size // ranks), sampler=sampler)

    @property
    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    @property
    def device_batch_size(self) -> int:
        """How many images each process takes of a training batch."""
        return self.batch_size // self._rank[1]

    def require_even_batches(self) -> None:
        """Refuse a batch that the trainer's processes cannot share.

        Raises:
            UserError: if a batch cannot be dealt evenly.
        """
        ranks = self._rank[1]
        if self.batch_size % ranks:
            near = max(ranks, round(self.batch_size / ranks) * ranks)
            raise UserError(
                f"data.batch_size={self.batch_size} is that of all {ranks} processes together and "
                f"cannot be dealt evenly: say data.batch_size={near}"
            )

    def _loader(
        self,
        dataset: CaptionDataset,
        kind: type[DataLoader[CaptionBatch]],
        batch_size: int,
        **how: Any,
    ) -> DataLoader[CaptionBatch]:
        workers = self.num_workers
        if workers is None:
            stored = dataset.features is not None
            at_once = self._cached(len(dataset)) or self.blank_images or stored
            workers = 0 if at_once else available_cores()
        # what comes out are batches: collate makes them
        examples = cast("Dataset[CaptionBatch]", dataset)
        return kind(
            examples,
            batch_size=batch_size,
            num_workers=workers,
            collate_fn=Collate(
                self.tokenizer.pad_id, dataset.augment.mixup if dataset.augment else 0.0
            ),
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            # of its own: seeding the loading processes must not move torch's global generator
            generator=torch.Generator(),
            **how,
        )

    def _cached(self, images: int) -> bool:
        if self.cache_images is not None:
            return self.cache_images
        return self.augment is None and images * 3 * self.image_size**2 <= CACHE_BYTES
