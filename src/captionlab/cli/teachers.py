"""The captioners that a run learns from: loaded from their checkpoints, and held against the run."""

from __future__ import annotations

from collections.abc import Sequence

from captionlab.cli.auto_features import is_frozen
from captionlab.cli.extract import check_features, fingerprint
from captionlab.core.config_types import Config
from captionlab.core.errors import UserError
from captionlab.data.datamodule import CaptionDataModule
from captionlab.inference.checkpoints import Checkpoint, read_checkpoint
from captionlab.inference.loaded import unlike
from captionlab.inference.weights import captioner_of
from captionlab.models.captioner import Captioner
from captionlab.models.encoders.stored import StoredEncoder
from captionlab.objectives.base import Objective


def give_teachers(
    objective: Objective, config: Config, data: CaptionDataModule, student: Captioner
) -> bool:
    """Hand an objective the teachers that it names; return whether a run may store features.

    It may where there is none, or every teacher sees of an image what the student's frozen encoder
    sees.

    Raises:
        UserError: for a teacher of another vocabulary or of other images, or one that cannot read
            what the student reads.
    """
    checkpoints = [read_checkpoint(path) for path in objective.teacher_paths]
    teachers = [_teacher(checkpoint, config, data) for checkpoint in checkpoints]
    objective.set_teachers(teachers)
    return _see_alike(checkpoints, teachers, config, data, student)


def _teacher(checkpoint: Checkpoint, config: Config, data: CaptionDataModule) -> Captioner:
    named = f"objective.teacher: {checkpoint.path} cannot teach this run"
    reads_images = data.features is None
    differing = unlike(
        checkpoint,
        data.tokenizer,
        image_size=data.image_size if reads_images else None,
        fit=data.fit if reads_images else None,
    )
    if differing is not None:
        raise UserError(f"{named}: {differing}; give both the same data, data.tokenizer and images")
    captioner = captioner_of(checkpoint).requires_grad_(False)
    if reads_images and isinstance(captioner.encoder, StoredEncoder):
        raise UserError(
            f"{named}: it reads stored regions, and the student looks at images; give "
            "data.features=PATH and model/encoder=regions"
        )
    try:
        check_features({**config, "model": checkpoint.config["model"]}, data, captioner.encoder)
    except UserError as error:
        raise UserError(f"{named}, whose features it does not read: {error}") from error
    return captioner


def _see_alike(
    checkpoints: Sequence[Checkpoint],
    teachers: Sequence[Captioner],
    config: Config,
    data: CaptionDataModule,
    student: Captioner,
) -> bool:
    if not teachers:
        return True
    if not data.auto_features or not is_frozen(student.encoder):
        return False
    own = fingerprint(student.encoder, config)
    return all(
        fingerprint(teacher.encoder, {**config, "model": checkpoint.config["model"]}) == own
        for checkpoint, teacher in zip(checkpoints, teachers, strict=True)
    )
