"""Label Studio's JSON: tasks with predictions and annotations, written and read.

https://labelstud.io/guide/task_format and /guide/predictions. The labeling configuration that fits:

    <View>
      <Image name="image" value="$image"/>
      <TextArea name="caption" toName="image" maxSubmissions="0" editable="true"/>
      <Choices name="nothing_true" toName="image"><Choice value="nothing true"/></Choices>
    </View>
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from captionlab.applications.label.actions import PictureState
from captionlab.applications.label.store import LabelStore, Proposal
from captionlab.core.errors import UserError
from captionlab.core.files import replacing
from captionlab.data.images.formats import is_picture
from captionlab.data.readers.fields import named

LOCAL_FILES = "/data/local-files/"
NOTHING_TRUE = "nothing true"


@dataclass
class Annotated:
    """What a task says of a picture: by person, and by model."""

    place: str
    image: str
    captions: list[tuple[str, str]] = field(default_factory=list)
    """Person and caption."""
    nothing_true_by: list[str] = field(default_factory=list)
    skipped_by: list[str] = field(default_factory=list)
    proposals: dict[str, list[Proposal]] = field(default_factory=dict)


def write_label_studio(store: LabelStore, file: Path) -> int:
    """Write a task for every picture of the folder; return how many.

    Images are named as Label Studio's local storage serves them: its document root is the folder.
    """
    tasks = [
        _task(number, store.present[number], state, store.proposals(number))
        for number, state in store.states().items()
    ]
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(tasks, ensure_ascii=False, indent=1), encoding="utf-8")
    return len(tasks)


def _task(
    number: int, name: str, state: PictureState, proposals: Mapping[str, Sequence[Proposal]]
) -> dict[str, Any]:
    by_person: dict[str, list[str]] = defaultdict(list)
    for caption in state.captions:
        by_person[caption.person].append(caption.text)
    annotations = [
        {"result": [_texts(texts, person)], "was_cancelled": False}
        for person, texts in by_person.items()
    ]
    for person in state.nothing_true_by:
        annotations.append({"result": [_nothing_true(person)], "was_cancelled": False})
    for person in state.skipped_by:
        annotations.append({"result": [], "was_cancelled": True, "captionlab_person": person})
    predictions = [
        {"model_version": model, "score": proposal.score, "result": [_texts([proposal.caption])]}
        for model, found in proposals.items()
        for proposal in found
    ]
    return {
        "id": number,
        "data": {"image": f"{LOCAL_FILES}?d={quote(name)}"},
        "annotations": annotations,
        "predictions": predictions,
    }


def _texts(texts: list[str], person: str | None = None) -> dict[str, Any]:
    result = _result("caption", "textarea", {"text": texts})
    return result if person is None else {**result, "meta": {"text": [person]}}


def _nothing_true(person: str) -> dict[str, Any]:
    result = _result("nothing_true", "choices", {"choices": [NOTHING_TRUE]})
    return {**result, "meta": {"text": [person]}}


def _result(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": kind, "value": value}


def is_label_studio(data: object) -> bool:
    """Return whether a parsed file looks like tasks: an array of objects that have ``data``."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and isinstance(first.get("data"), dict)


def read_tasks(file: Path, tasks: Sequence[object]) -> Iterator[Annotated]:
    """Yield what each task says; texts are as they stand, and of any length.

    Raises:
        UserError: with the place of what is no task, annotation or prediction.
    """
    for index, task in enumerate(tasks):
        where = f"{file}: [{index}]"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise UserError(f"{where}: expected a task with 'data', not {named(task)[:60]}")
        found = Annotated(where, _image(task["data"], where))
        for number, one in enumerate(_list(task, "annotations", where)):
            _read_annotation(one, f"{where}.annotations[{number}]", found)
        for number, one in enumerate(_list(task, "predictions", where)):
            _read_prediction(one, f"{where}.predictions[{number}]", found)
        yield found


def _list(holder: Mapping[str, object], key: str, where: str) -> list[dict[str, Any]]:
    items = holder.get(key)
    if items is None:
        return []
    if not isinstance(items, list):
        raise UserError(f"{where}: {key!r} must be a list, not {named(items)[:60]}")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise UserError(f"{where}.{key}[{index}] must be an object, not {named(item)[:60]}")
    return items


def _read_annotation(annotation: dict[str, Any], where: str, found: Annotated) -> None:
    results = _list(annotation, "result", where)
    person = _person(annotation, results, where)
    if annotation.get("was_cancelled") is True:
        found.skipped_by.append(person)
        return
    for index, result in enumerate(results):
        texts, choices = _values(result, f"{where}.result[{index}]")
        found.captions += [(person, text) for text in texts]
        if NOTHING_TRUE in choices:
            found.nothing_true_by.append(person)


def _read_prediction(prediction: dict[str, Any], where: str, found: Annotated) -> None:
    model = prediction.get("model_version") or "label studio"
    if not isinstance(model, str):
        raise UserError(f"{where}: 'model_version' must be text, not {named(model)[:60]}")
    score = prediction.get("score")
    if isinstance(score, int) and abs(score) < 2**53:
        score = float(score)
    if score is not None and not isinstance(score, float):
        raise UserError(f"{where}: 'score' must be a number, not {named(score)[:60]}")
    for index, result in enumerate(_list(prediction, "result", where)):
        texts, _ = _values(result, f"{where}.result[{index}]")
        proposals = [Proposal(text, score) for text in texts]
        found.proposals.setdefault(model, []).extend(proposals)


def _values(result: dict[str, Any], where: str) -> tuple[list[str], list[str]]:
    """Return the texts and the choices of a result; of other kinds (boxes) there are none."""
    kind = result.get("type")
    if kind not in ("textarea", "choices"):
        return [], []
    key = "text" if kind == "textarea" else "choices"
    value = result.get("value")
    given = value.get(key) if isinstance(value, dict) else None
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{where}: {key!r} of its value must be texts, not {named(given)[:60]}")
    return (texts, []) if kind == "textarea" else ([], texts)


def _person(annotation: dict[str, Any], results: list[dict[str, Any]], where: str) -> str:
    """Return who annotated: the name that captionlab wrote, else an e-mail address or number."""
    own = annotation.get("captionlab_person")
    for result in results:
        meta = result.get("meta")
        texts = meta.get("text") if isinstance(meta, dict) else None
        own = own or (texts[0] if isinstance(texts, list) and texts else None)
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    if own is None and isinstance(by, int) and not isinstance(by, bool):
        own = f"label studio {by}"
    person = own or by or "label studio"
    if not isinstance(person, str):
        raise UserError(f"{where}: who completed it must be a name, not {named(person)[:60]}")
    return person


def _image(data: Mapping[str, object], where: str) -> str:
    """Return the path of a task's picture, whatever storage it names."""
    for value in data.values():
        if isinstance(value, str) and is_picture(path := _path(value, where)):
            return path
    raise UserError(f"{where}: 'data' names no picture: {named(dict(data))[:80]}")


def _path(value: str, where: str) -> str:
    """Return the path in an address: of local storage below its root, of others as it is there."""
    try:
        parts = urlsplit(value)
    except ValueError:
        raise UserError(f"{where}: {value[:80]!r} is no address of a picture") from None
    if parts.path.endswith(LOCAL_FILES) and parts.query:
        return parse_qs(parts.query).get("d", [""])[0]
    if parts.scheme or parts.netloc:
        return parts.path.lstrip("/")
    name = PurePosixPath(value)
    if value.startswith("/data/upload/"):  # named UUID-name there
        prefix, dash, rest = name.name.partition("-")
        hexadecimal = len(prefix) == 8 and all(sign in "0123456789abcdef" for sign in prefix)
        return rest if dash and hexadecimal else name.name
    return value
