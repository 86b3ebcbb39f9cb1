"""The hub, with a folder of this machine in its place; and no hub at all."""

from __future__ import annotations

import fnmatch
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from captionlab import load_captioner
from captionlab.cli.push import push as push_command
from captionlab.core import hugging_face
from captionlab.core.errors import UserError
from captionlab.inference.calibrated import require_calibration
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.export import hub
from captionlab.inference.export.folder import MANIFEST, file_entry
from captionlab.inference.export.hub import LARGEST_DOWNLOAD, parse_address, push
from captionlab.inference.export.write import ExportSettings, write_export
from captionlab.metrics.calibration import NAME, Calibration
from hostile_support import honest

library = pytest.importorskip("huggingface_hub")
WEIGHTS = "weights.safetensors"
SECRET = "hf_secretsecretsecret"


def refusal(kind: str) -> Exception:
    """Return one of the library's errors, whose constructors want an answer of the network."""
    found = getattr(library.errors, kind)
    return found.__new__(found)


class FakeHub:
    """Repositories as folders; what is fetched lies in a cache of blobs and links, as the real one's."""

    def __init__(self, folder: Path) -> None:
        self.repositories = folder / "repositories"
        self.cache = folder / "cache"
        self.fetched: list[str] = []
        self.private: dict[str, bool] = {}
        self.larger: dict[str, int] = {}

    def files(self, repository: str) -> dict[str, Path]:
        folder = self.repositories / repository
        if not folder.is_dir():
            raise refusal("RepositoryNotFoundError")
        return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}

    def snapshot_download(
        self,
        repo_id: str,
        *,
        revision: Any,
        allow_patterns: list[str],
        local_files_only: bool,
        **_: Any,
    ) -> str:
        name = f"models--{repo_id.replace('/', '--')}"
        snapshot, ref = self.cache / name / "snapshots" / "abc", self.cache / name / "refs"
        named = revision or "main"
        if local_files_only:
            if named != "abc" and not (ref / named).exists():
                raise FileNotFoundError("not in the cache")
            return str(snapshot)
        if named != "abc":
            ref.mkdir(parents=True, exist_ok=True)
            (ref / named).write_text("abc")
        (self.cache / name / "blobs").mkdir(parents=True, exist_ok=True)
        snapshot.mkdir(parents=True, exist_ok=True)
        for file, path in self.files(repo_id).items():
            if any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns):
                self.fetched.append(file)
                blob = self.cache / name / "blobs" / file
                shutil.copy(path, blob)
                (snapshot / file).unlink(missing_ok=True)
                (snapshot / file).symlink_to(f"../../blobs/{file}")
        return str(snapshot)

    def model_info(self, repository: str, *, revision: str | None = None, **_: Any) -> Any:
        if revision == "nowhere":
            raise refusal("RevisionNotFoundError")
        siblings = [
            SimpleNamespace(rfilename=name, size=self.larger.get(name, path.stat().st_size))
            for name, path in self.files(repository).items()
        ]
        private = self.private.get(repository, False)
        return SimpleNamespace(sha="abc", siblings=siblings, private=private)

    def create_repo(self, repository: str, *, private: bool | None, exist_ok: bool) -> None:
        if not (self.repositories / repository).is_dir():
            self.private[repository] = bool(private)
        (self.repositories / repository).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: Path,
        allow_patterns: list[str],
        delete_patterns: list[str],
        **_: Any,
    ) -> None:
        for name, path in self.files(repo_id).items():
            if any(fnmatch.fnmatch(name, pattern) for pattern in delete_patterns):
                path.unlink()
        for path in folder_path.iterdir():
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                shutil.copy(path, self.repositories / repo_id / path.name)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(hugging_face, "_reachable", lambda endpoint: True)
    monkeypatch.setattr(library, "snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(library, "HfApi", lambda: fake)
    monkeypatch.setattr(library, "get_token", lambda: SECRET)
    return fake


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    torch.save(honest(), folder / "best.ckpt")
    stored = read_checkpoint(folder / "best.ckpt")
    write_export(stored, folder / "out", ExportSettings("safetensors"))
    return folder / "out"


@pytest.fixture
def export(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "export"))


def image() -> torch.Tensor:
    return torch.randint(0, 255, (3, 40, 40), dtype=torch.uint8)


def test_what_is_pushed_captions_when_it_is_fetched(fake: FakeHub, export: Path):
    assert push(export, "ada/captions") == "hf://ada/captions"
    photo = image()
    assert load_captioner("hf://ada/captions")(photo) == load_captioner(export)(photo)
    assert load_captioner("hf://ada/captions@main")(photo) == load_captioner(export)(photo)


def test_a_calibration_is_fetched_with_its_export(fake: FakeHub, export: Path):
    push(export, "ada/unsure")
    with pytest.raises(UserError, match=r"hf://ada/unsure has no calibration\.json"):
        require_calibration("hf://ada/unsure", "--abstain")
    Calibration("log_odds", 2.0, 0.5).write(export / NAME)
    manifest = json.loads((export / MANIFEST).read_text())
    manifest["files"][NAME] = file_entry(export / NAME)
    (export / MANIFEST).write_text(json.dumps(manifest))
    push(export, "ada/captions")
    assert require_calibration("hf://ada/captions", "--abstain").temperature == 2


def test_nothing_but_what_is_read_is_fetched(fake: FakeHub, export: Path):
    push(export, "ada/captions")
    for name in ("evil.pkl", "pytorch_model.bin", "code.py", "other.safetensors"):
        (fake.repositories / "ada/captions" / name).write_bytes(b"x")
    load_captioner("hf://ada/captions")
    assert set(fake.fetched) == {MANIFEST, WEIGHTS}


def test_what_was_fetched_before_is_there_without_a_network(
    fake: FakeHub, export: Path, monkeypatch: pytest.MonkeyPatch
):
    push(export, "ada/captions")
    load_captioner("hf://ada/captions")
    monkeypatch.setattr(hugging_face, "_reachable", lambda endpoint: False)
    assert load_captioner("hf://ada/captions").captioner is not None
    with pytest.raises(UserError, match="not fetched to this machine before"):
        load_captioner("hf://ada/others")


def test_only_the_files_of_the_export_are_pushed(fake: FakeHub, export: Path):
    (export / "secret.txt").write_text("x")
    (export / ".git").mkdir()
    push(export, "ada/captions")
    assert set(fake.files("ada/captions")) == {MANIFEST, WEIGHTS, "README.md"}


def test_an_earlier_export_of_another_format_is_replaced(fake: FakeHub, export: Path):
    push(export, "ada/captions")
    (fake.repositories / "ada/captions" / "encoder.onnx").write_bytes(b"x")
    (fake.repositories / "ada/captions" / "LICENSE").write_bytes(b"x")
    push(export, "ada/captions")
    assert set(fake.files("ada/captions")) == {MANIFEST, WEIGHTS, "README.md", "LICENSE"}


def test_a_repository_of_something_else_is_not_written_over(fake: FakeHub, export: Path):
    fake.create_repo("ada/llm", private=False, exist_ok=True)
    (fake.repositories / "ada/llm" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json and no export"):
        push(export, "ada/llm")
    assert set(fake.files("ada/llm")) == {"config.json"}


def test_a_public_repository_does_not_become_private(fake: FakeHub, export: Path):
    push(export, "ada/captions")
    with pytest.raises(UserError, match="it is public"):
        push(export, "ada/captions", private=True)
    push(export, "ada/mine", private=True)
    assert fake.private["ada/mine"]
    push(export, "ada/mine", private=True)


def test_a_damaged_export_is_not_pushed(fake: FakeHub, export: Path):
    (export / WEIGHTS).write_bytes(b"x")
    with pytest.raises(UserError, match="is damaged or incomplete"):
        push(export, "ada/captions")
    assert not (fake.repositories / "ada").exists()


def test_a_link_is_not_pushed_as_what_it_leads_to(fake: FakeHub, export: Path, tmp_path: Path):
    secret = tmp_path / "id_rsa"
    secret.write_text("secret")
    (export / "README.md").unlink()
    (export / "README.md").symlink_to(secret)
    with pytest.raises(UserError, match="link that leads out"):
        push(export, "ada/captions")
    assert not (fake.repositories / "ada").exists()


def test_programs_are_neither_pushed_nor_fetched(fake: FakeHub, export: Path):
    push(export, "ada/captions")
    for folder in (export, fake.repositories / "ada/captions"):
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps({**manifest, "format": "torch"}))
    with pytest.raises(UserError, match="run what they hold"):
        push(export, "ada/captions")
    with pytest.raises(UserError, match="run what they hold"):
        load_captioner("hf://ada/captions")
    assert set(fake.fetched) == {MANIFEST}


@pytest.mark.parametrize(("name", "size"), [(WEIGHTS, LARGEST_DOWNLOAD), (MANIFEST, 2**30)])
def test_more_than_can_be_meant_is_not_fetched(fake: FakeHub, export: Path, name: str, size: int):
    push(export, "ada/captions")
    fake.larger[name] = size
    with pytest.raises(UserError, match="are the most"):
        load_captioner("hf://ada/captions")
    assert WEIGHTS not in fake.fetched


def test_what_is_not_there_is_named(fake: FakeHub, export: Path):
    push(export, "ada/captions")
    (fake.repositories / "ada/captions" / WEIGHTS).unlink()
    fake.create_repo("ada/llm", private=False, exist_ok=True)
    cases = {
        "hf://ada/nobody": "no such repository",
        "hf://ada/captions@nowhere": "no such branch",
        "hf://ada/captions": f"it has no {WEIGHTS}",
        "hf://ada/llm": "no export of captionlab",
    }
    for address, sentence in cases.items():
        with pytest.raises(UserError, match=sentence):
            load_captioner(address)


def test_a_link_out_of_the_cache_is_not_followed(fake: FakeHub, export: Path, tmp_path: Path):
    push(export, "ada/captions")
    load_captioner("hf://ada/captions")
    snapshot = fake.cache / "models--ada--captions" / "snapshots" / "abc"
    shutil.copy(export / WEIGHTS, tmp_path / "outside")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "snapshot_download", lambda *_, **__: str(snapshot))
        (snapshot / WEIGHTS).unlink()
        (snapshot / WEIGHTS).symlink_to(tmp_path / "outside")
        with pytest.raises(UserError, match="leads out of"):
            load_captioner("hf://ada/captions")


ADDRESSES = [
    "hf://",
    "hf://ada",
    "hf://ada/",
    "hf://a/b/c",
    "hf://../x",
    "hf://a/..",
    "hf:///etc/passwd",
]
REVISIONS = ["hf://a/b@", "hf://a/b@../x", "hf://a/b@ x", "hf://a/b@x@y", "hf://a/b@-x"]


@pytest.mark.parametrize("address", [*ADDRESSES, *REVISIONS])
def test_odd_addresses_are_refused_before_anything_is_asked(address: str):
    with pytest.raises(UserError, match=r"no address of a captioner|no branch, tag or commit"):
        load_captioner(address)


def test_an_address_has_a_repository_and_a_revision():
    assert parse_address("hf://ada/captions") == ("ada/captions", None)
    assert parse_address("hf://ada/captions@v1.0") == ("ada/captions", "v1.0")
    assert parse_address(Path("hf://ada/captions@refs/pr/1")) == ("ada/captions", "refs/pr/1")


def test_without_a_network_one_sentence_says_so(export: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    monkeypatch.setattr(library, "HfApi", lambda: asked.append("api"))
    with pytest.raises(UserError, match="not fetched to this machine before"):
        load_captioner("hf://ada/nobody-has-this")
    with pytest.raises(UserError, match="does not answer; nothing was sent"):
        push(export, "ada/captions")
    assert asked == []


def test_the_real_librarys_cache_is_used_without_a_network(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sha = "0123456789abcdef0123456789abcdef01234567"
    root = tmp_path / "cache" / "models--ada--captions"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(sha)
    shutil.copytree(export, root / "snapshots" / sha)
    monkeypatch.setattr(library.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    photo = image()
    assert load_captioner("hf://ada/captions")(photo) == load_captioner(export)(photo)
    with pytest.raises(UserError, match="not fetched to this machine before"):
        load_captioner("hf://ada/captions@v2")


def test_a_hub_that_is_down_leaves_the_cache(
    fake: FakeHub, export: Path, monkeypatch: pytest.MonkeyPatch
):
    push(export, "ada/captions")
    load_captioner("hf://ada/captions")

    def down(*_: Any, **__: Any) -> None:
        raise ConnectionError("503")

    monkeypatch.setattr(FakeHub, "model_info", down)
    assert load_captioner("hf://ada/captions").captioner is not None
    with pytest.raises(UserError, match="not fetched to this machine before"):
        load_captioner("hf://ada/others")


def test_nobody_is_logged_in(fake: FakeHub, export: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(library, "get_token", lambda: None)
    with pytest.raises(UserError, match="hf auth login"):
        push(export, "ada/captions")


def test_a_checkpoint_is_pushed_as_safetensors(fake: FakeHub, template: Path, capsys):
    ckpt = str(template.parent / "best.ckpt")
    assert push_command(ckpt, "ada/captions", license="mit") == 0
    assert "captionlab predict hf://ada/captions" in capsys.readouterr().out
    card = (fake.repositories / "ada/captions" / "README.md").read_text()
    assert "license: mit" in card
    assert set(fake.files("ada/captions")) == {MANIFEST, WEIGHTS, "README.md"}


def test_the_token_is_neither_written_nor_printed(
    fake: FakeHub, export: Path, tmp_path: Path, capsys
):
    push_command(str(export), "ada/captions")
    load_captioner("hf://ada/captions")
    with pytest.raises(UserError) as error:
        push_command(str(export), "ada/captions", private=True)
    output = capsys.readouterr()
    assert SECRET not in output.out + output.err + str(error.value)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(SECRET.encode() in path.read_bytes() for path in files)


def test_the_cache_of_a_snapshot_is_its_repositorys(tmp_path: Path):
    assert (
        hub.cache_of(tmp_path / "models--a--b" / "snapshots" / "abc") == tmp_path / "models--a--b"
    )
    assert hub.cache_of(tmp_path / "folder") == tmp_path / "folder"
