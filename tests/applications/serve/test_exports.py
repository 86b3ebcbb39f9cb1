"""An exported folder is served as its checkpoint is."""

import pytest

from captionlab.applications.serve.server import Source
from captionlab.applications.serve.settings import ServeSettings
from captionlab.cli.main import main
from serve_support import CHECKPOINTS, application, client_of, files_of, picture


@pytest.mark.slow
@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_an_export_answers_as_its_checkpoint(tmp_path, form):
    folder = tmp_path / "exported"
    with pytest.raises(SystemExit) as ended:
        main(["export", str(CHECKPOINTS / "lstm.ckpt"), "--format", form, "--out", str(folder)])
    assert ended.value.code == 0
    request = {
        "files": files_of(picture(), picture(color=7)),
        "data": {"num_captions": 2, "attention": "1"},
    }
    with client_of(application()) as client:
        expected = client.post("/v1/caption", **request).json()["results"]
    with client_of(Source((str(folder),)).application(ServeSettings())) as client:
        answer = client.post("/v1/caption", **request)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["model"]["version"]) == 12
        results = answer.json()["results"]
    for result, wanted in zip(results, expected, strict=True):
        for caption, other in zip(result["captions"], wanted["captions"], strict=True):
            assert caption["caption"] == other["caption"]
            for word, same in zip(caption["words"], other["words"], strict=True):
                assert word["confidence"] == pytest.approx(same["confidence"], abs=2e-3)
                assert (word["attention"] is None) == (same["attention"] is None)
