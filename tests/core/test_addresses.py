from pathlib import Path

import pytest

from captionlab.core.addresses import holds_address, is_address, require_local, require_local_values
from captionlab.core.errors import UserError


@pytest.mark.parametrize(
    "text", ["https://a.b/c.jpg", "https:/a.b/c.jpg", "s3://b/x", "gs://b/x", "hf://datasets/x"]
)
def test_an_address_is_known(text: str):
    assert is_address(text)
    assert is_address(Path(text))
    assert holds_address(Path("photos", text))
    with pytest.raises(UserError, match=r"--out .*: name a place on this machine"):
        require_local(text, "--out ", written=True)
    with pytest.raises(UserError, match=r"^data\.root=.*not fetched: download it first"):
        require_local(text, "data.root=")


@pytest.mark.parametrize(
    "text", ["a.jpg", "/data/a.jpg", "C:/data/a.jpg", "C:\\a.jpg", "a: b", "12:30", "x:", "", None]
)
def test_a_path_is_no_address(text: str | None):
    assert not is_address(text)
    require_local(text)


def test_a_folder_that_is_there_is_none(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data:/x").mkdir(parents=True)
    require_local("data:/x")


def test_the_path_of_a_file_address_is_asked_for():
    with pytest.raises(UserError, match="give what follows file://"):
        require_local("file:///data/a.jpg")


def test_the_outermost_value_is_named():
    data = {"source": {"root": "s3://b", "files": ["s3://b/c"]}, "root": "s3://b"}
    with pytest.raises(UserError, match=r"^data\.root=s3://b is"):
        require_local_values({"data": data})
    del data["root"], data["source"]["root"]
    with pytest.raises(UserError, match=r"^data\.source\.files\[0\]=s3://b/c is"):
        require_local_values({"data": data})


def test_what_is_told_about_a_model_or_a_logger_may_be_an_address():
    require_local_values(
        {
            "model": {"paper": "https://arxiv.org/abs/1", "encoder": {"weights": None}},
            "logger": {"wandb": {"host": "https://wandb.example"}},
        }
    )
