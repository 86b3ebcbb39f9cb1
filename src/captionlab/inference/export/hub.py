"""Exported folders on Hugging Face's hub: fetched where ``hf://owner/name`` is asked for, and put there.

Only what an export's list names is fetched, and of that only what captionlab reads: no pickle, no
program. Whoever is logged in on this machine (``hf auth login``, ``HF_TOKEN``) is so for the library
behind it; no token is read, written or printed here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from captionlab.core.errors import UserError, first_line
from captionlab.core.hugging_face import offline_where_unreachable
from captionlab.inference.export.folder import CARD, MANIFEST
from captionlab.inference.export.manifest import (
    LARGEST_MANIFEST,
    is_read,
    read_export,
    read_manifest,
    require_inside,
)

LARGEST_DOWNLOAD = 8 * 2**30  # bytes of a captioner; a large one in float32 has 2
SECONDS = 10.0  # until the hub has answered
SHARED = ("onnx", "safetensors")  # formats that no one has to trust
_ADDRESS = re.compile(r"hf:/{1,2}(?P<repository>[^@]*)(?:@(?P<revision>.*))?")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
# what an earlier export of another format may have left there
_EARLIER = ["*.onnx", "*.safetensors", "weights.bin", "caption.py", "calibration.json", MANIFEST]
# what a new repository holds by itself
_UNTOUCHED = {".gitattributes", CARD}


def is_hub_address(path: str | os.PathLike[str]) -> bool:
    """Return whether a text is the address of a repository on the hub."""
    return str(path).startswith("hf:/")  # a Path keeps one slash


def parse_address(address: str | os.PathLike[str]) -> tuple[str, str | None]:
    """Return repository and revision of ``hf://owner/name[@revision]``.

    Raises:
        UserError: if it is none.
    """
    parts = _ADDRESS.fullmatch(str(address))
    repository, revision = parts.groups() if parts else ("", None)
    if revision is not None and (".." in revision or not _REVISION.fullmatch(revision)):
        raise UserError(f"{address}: {revision!r:.60} is no branch, tag or commit of a repository")
    try:
        return require_repository(repository), revision
    except UserError as error:
        raise UserError(
            f"{address} is no address of a captioner: hf://owner/name[@revision]"
        ) from error


def require_repository(name: str) -> str:
    """Return the name of a repository; UserError unless it is ``owner/name``."""
    if not _REPOSITORY.fullmatch(name) or ".." in name or "--" in name:
        raise UserError(f"{name!r:.100} is no repository of the hub: owner/name")
    return name


def download(address: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Fetch the exported folder of an address into the hub's cache; return it, and that cache's folder.

    The files of the first are links into the second. Without a network it is what was fetched before.

    Raises:
        UserError: if there is no such repository or revision, it holds no export that may be loaded,
            or more than can be meant, or it was not fetched before and the hub does not answer.
    """
    repository, revision = parse_address(address)
    hub = library()
    with offline_where_unreachable() as reachable:
        info = _info(hub, repository, revision, str(address)) if reachable else None
        with _explained(str(address), info is not None):
            return _fetch(hub, str(address), repository, revision, info)


def _fetch(
    hub: ModuleType, address: str, repository: str, revision: str | None, info: Any
) -> tuple[Path, Path]:
    """Return folder and cache of an export; ``info`` is the hub's answer about it, None for none."""
    sizes = None if info is None else _sizes(info)
    if sizes is not None:
        _require_sizes(address, [MANIFEST], sizes, LARGEST_MANIFEST)
    options = {"etag_timeout": SECONDS, "local_files_only": info is None}
    # by the name of the revision, which the cache then knows without a network
    folder = Path(
        hub.snapshot_download(repository, revision=revision, allow_patterns=[MANIFEST], **options)
    )
    if info is not None and folder.name != info.sha:
        raise UserError(f"{address} was changed while it was fetched: try again")
    root = cache_of(folder)
    manifest = read_manifest(folder, root)
    _require_shared(manifest, address)
    names = [MANIFEST, *filter(is_read, manifest["files"])]
    if sizes is not None:
        _require_sizes(address, names, sizes, LARGEST_DOWNLOAD)
    # names of an export have none of the signs that patterns are made of
    hub.snapshot_download(repository, revision=folder.name, allow_patterns=names, **options)
    return folder, root


def _info(hub: ModuleType, repository: str, revision: str | None, address: str) -> Any:
    """Return what the hub tells of a repository, None where it does not answer.

    Raises:
        UserError: if it answers that there is none.
    """
    from huggingface_hub import errors

    refusals = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    try:
        with _explained(address, True, only=refusals):
            return hub.HfApi().model_info(
                repository, revision=revision, files_metadata=True, timeout=SECONDS
            )
    except UserError:
        raise
    except Exception:  # of requests, of a proxy, of a hub that is down: the cache may have it
        return None


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Send an exported folder to a repository of the hub, which is made where there is none.

    Returns its address, ``hf://owner/name``.

    Raises:
        UserError: if the folder is no whole export, of a format that has to be trusted; if the
            repository holds something else, or is public where a private one is wanted; without a
            network, or without a login that may write there.
    """
    require_repository(repository)
    export = read_export(folder)
    _require_shared(export.manifest, str(folder))
    for name in export.manifest[
        "files"
    ]:  # those too that are not read: a link sends what it leads to
        if os.path.lexists(folder / name):
            require_inside(folder / name, folder)
    hub = library()
    with offline_where_unreachable() as reachable:
        if not reachable:
            raise UserError(
                f"push {repository}: {_endpoint(hub)} does not answer; nothing was sent"
            )
        if hub.get_token() is None:
            raise UserError(
                f"push {repository}: nobody is logged in here: hf auth login, or set HF_TOKEN"
            )
        with _explained(repository, reachable):
            api = hub.HfApi()
            _require_own(api, repository, private=private)
            # None: as its owner's settings have it
            api.create_repo(repository, private=private or None, exist_ok=True)
            api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                allow_patterns=[MANIFEST, *export.manifest["files"]],
                delete_patterns=_EARLIER,
                commit_message=f"captionlab export, {export.format} {export.manifest['precision']}",
            )
    return f"hf://{repository}"


def cache_of(folder: Path) -> Path:
    """Return the part of the hub's cache that a snapshot's links lead into: the repository's folder."""
    return folder.parent.parent if folder.parent.name == "snapshots" else folder


def library() -> ModuleType:
    """Return huggingface_hub without its progress bars; UserError if it is not installed."""
    try:
        import huggingface_hub
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise UserError("hf:// needs huggingface_hub: pip install huggingface_hub") from error
    disable_progress_bars()
    module: ModuleType = huggingface_hub
    return module


def _endpoint(hub: ModuleType) -> str:
    return str(hub.constants.ENDPOINT)


def _sizes(info: Any) -> dict[str, int]:
    return {one.rfilename: one.size or 0 for one in info.siblings or ()}


def _require_sizes(address: str, names: list[str], sizes: Mapping[str, int], most: int) -> None:
    """Raise UserError for files that are not there, or larger together than can be meant."""
    for name in names:
        if name not in sizes:
            what = "no export of captionlab" if name == MANIFEST else "no whole export"
            raise UserError(f"{address} is {what}: it has no {name}")
    total = sum(sizes[name] for name in names)
    if total > most:
        raise UserError(f"{address} has {total:,} bytes to fetch, and {most:,} are the most")


def _require_shared(manifest: Mapping[str, Any], where: str) -> None:
    if manifest["format"] not in SHARED:
        raise UserError(
            f"{where} is of format {manifest['format']}, whose files run what they hold: share an "
            f"export of format {' or '.join(SHARED)}"
        )


def _require_own(api: Any, repository: str, *, private: bool) -> None:
    """Raise UserError for a repository that holds something else, or is seen by more than is wanted."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(repository, timeout=SECONDS)
    except RepositoryNotFoundError:
        return
    names = {one.rfilename for one in info.siblings or ()}
    foreign = sorted(names - _UNTOUCHED)
    if foreign and MANIFEST not in names:
        raise UserError(
            f"push {repository}: it holds {foreign[0]} and no export of captionlab; choose another name"
        )
    if private and not info.private:
        raise UserError(
            f"push {repository}: it is public, and --private makes none so that is there already: "
            "change it on the hub, or choose another name"
        )


@contextmanager
def _explained(
    where: str, reachable: bool, only: tuple[type[Exception], ...] = (Exception,)
) -> Iterator[None]:
    """Say in one sentence what the library's many errors are about; others than ``only`` pass."""
    from huggingface_hub import errors

    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except errors.GatedRepoError as error:
        raise UserError(
            f"{where}: its owner gives access to it one by one: ask on its page"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{where}: there is no such repository for who is logged in here; if it is private: "
            "hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{where}: the repository has no such branch, tag or commit") from error
    except only as error:  # of requests, of files, of the hub's answers
        if reachable:
            raise UserError(f"{where}: {first_line(error):.300}") from error
        raise UserError(
            f"{where}: the hub does not answer, and it was not fetched to this machine before"
        ) from error
