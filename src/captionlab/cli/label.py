"""Label: the page over a folder of pictures, and files into its store and out of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captionlab.cli.page_options import page_address
from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError
from captionlab.core.files import require_file_place

if TYPE_CHECKING:
    from captionlab.applications.label.proposals import Proposer
    from captionlab.applications.label.store import LabelStore

STORE = "labels.sqlite"
LABEL_STUDIO = "label-studio.json"


def label(options: argparse.Namespace) -> int:
    """Serve the page, or import and export; return 0.

    Raises:
        UserError: if the folder, the store, the model, a file or the address is wrong.
    """
    from captionlab.applications.label.store import LabelStore
    from captionlab.applications.picture_views import pictures_below

    require_local(options.folder)
    folder = Path(options.folder)
    names = pictures_below(folder)
    at_once = options.imported is not None or options.export is not None
    if at_once and options.model is not None:
        raise UserError("--model proposes on the page; leave it out beside --import and --export")
    path = Path(options.store) if options.store else folder / STORE
    store = LabelStore(path, new=options.export is None or options.imported is not None)
    try:
        store.add_pictures(names)
        if options.imported is not None:
            _import(store, options)
        if options.export is not None:
            _export(store, folder, options.export, overwrite=options.overwrite)
        if not at_once:
            _serve(store, folder, options)
    finally:
        store.close()
    return 0


def _serve(store: LabelStore, folder: Path, options: argparse.Namespace) -> None:
    address = page_address(options)
    from captionlab.applications.label.app import Labeling, create_app
    from captionlab.applications.local_pages import run_app

    proposer = None if options.model is None else _proposer(store, folder, options)
    app = create_app(Labeling(folder, store, proposer), address)
    progress = store.progress()
    if proposer is not None:
        proposer.start()
    try:
        run_app(
            app,
            address,
            lambda url: print(
                f"{progress.open:,} of {progress.pictures:,} pictures to label: {url}\n"
                f"kept in {store.path}; Ctrl-C ends it",
                flush=True,
            ),
        )
    finally:
        if proposer is not None:
            proposer.stop()


def _proposer(store: LabelStore, folder: Path, options: argparse.Namespace) -> Proposer:
    from captionlab.applications.label.proposals import Proposer, model_name
    from captionlab.cli.predict import choose_device
    from captionlab.inference.loaded import load_captioner

    captioner = load_captioner(
        options.model,
        device=choose_device(options.device),
        decoding=options.set,
        trust=options.trust,
    )
    captioner.fold()
    return Proposer(store, folder, captioner, model_name(Path(options.model), options.set))


def _import(store: LabelStore, options: argparse.Namespace) -> None:
    from captionlab.applications.label.imports import import_file

    found = import_file(store, Path(options.imported), take_as=options.import_as)
    print(
        f"{found.captions:,} captions and {found.proposals:,} proposals of {found.pictures:,} pictures "
        f"are in {store.path}"
    )


def _export(store: LabelStore, folder: Path, what: str, *, overwrite: bool) -> None:
    from captionlab.applications.label.export import (
        labeled_pictures,
        write_coco,
        write_jsonl,
        write_sidecars,
    )
    from captionlab.applications.label.label_studio import write_label_studio

    if what == "labelstudio":
        file = _export_place(str(folder / LABEL_STUDIO), overwrite=overwrite)
        print(f"{write_label_studio(store, file):,} tasks in {file}")
        return
    labeled = labeled_pictures(store)
    captions = sum(len(one.captions) for one in labeled)
    count = f"{captions:,} captions of {len(labeled):,} pictures"
    if what == "sidecars":
        pictures = list(store.present.values())
        write_sidecars(labeled, folder, pictures=pictures, overwrite=overwrite)
        print(f"{count} beside them\ntrain      python train.py data=sidecars data.root={folder}")
        return
    file = _export_place(what, overwrite=overwrite)
    kind = {".jsonl": "jsonl", ".json": "json"}.get(file.suffix.lower())
    if kind is None:
        raise UserError(
            f"--export {what}: say FILE.jsonl, FILE.json (COCO's form), sidecars or labelstudio"
        )
    if kind == "jsonl":
        splits = write_jsonl(labeled, file)
        if splits:
            print("splits are written with them: they are too few to be divided by a hash")
    else:
        write_coco(labeled, folder, file)
    print(
        f"{count} in {file}\n"
        f"train      python train.py data={kind} data.root={folder} data.source.file={file.absolute()}"
    )


def _export_place(place: str, *, overwrite: bool) -> Path:
    """Return where a file is written; UserError where it cannot be, or something is there already."""
    file = require_file_place(place, "--export ")
    if file.exists() and not overwrite:
        raise UserError(f"--export {file} is there already: say --overwrite to replace it")
    return file
