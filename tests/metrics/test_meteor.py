import copy
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.metrics import Meteor
from captionlab.metrics import meteor as module
from tests_support import HANG

# stands in for the jar: the score of a caption is 0.1 for each of its words, up to 1
JAR = """
import sys
for line in sys.stdin:
    fields = line.rstrip("\\n").split("|||")
    if fields[0].startswith("SCORE"):
        print(f"{min(len(fields[-1].split()), 10)}.0 " + "0.0 " * 50, flush=True)
    else:
        scores = [float(f.split()[0]) / 10 for f in fields[1:]]
        print(*scores, sum(scores) / len(scores), sep="\\n", flush=True)
"""
CAPTIONS = ["a dog", "a dog runs", ""]
REFERENCES = [["a dog"], ["a dog", "x"], ["a dog"]]


def stand_in(monkeypatch, script):
    command = [sys.executable, "-S", "-c", script]
    monkeypatch.setattr(module, "_command", lambda language, memory: command)


def assert_one_warning_then_silence(meteor, match):
    with pytest.warns(UserWarning, match=match) as caught:
        assert meteor.score(CAPTIONS, REFERENCES) is None
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meteor.start()
        assert meteor.score(CAPTIONS, REFERENCES) is None
    assert not meteor.available


def test_one_process_serves_all_epochs(monkeypatch):
    stand_in(monkeypatch, JAR)
    with Meteor() as meteor:
        process = meteor._process._process
        for _ in range(3):
            corpus, each = meteor.score(CAPTIONS, REFERENCES)
            assert each.tolist() == [0.2, 0.3, 0]
            assert corpus == pytest.approx(0.5 / 3)
        assert meteor._process._process is process
    assert process.poll() is not None


def test_thousands_of_captions_do_not_block_the_pipes(monkeypatch):
    stand_in(monkeypatch, JAR)
    with Meteor(timeout=HANG) as meteor:
        _, each = meteor.score(["a dog"] * 5000, [["a dog " * 20] * 5] * 5000)
    assert each.tolist() == [0.2] * 5000


def test_separator_and_line_breaks_in_captions_shift_nothing(monkeypatch):
    stand_in(monkeypatch, JAR)
    with Meteor() as meteor:
        _, each = meteor.score(
            ["a ||| b", "a\nb\r\nc", "|||", "\ud800 x"], [["a|||b"], ["x\u2028y"], [""], ["\x85"]]
        )
    assert each.tolist() == [0.2, 0.3, 0, 0.2]


def test_missing_java_gives_one_warning_that_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_one_warning_then_silence(Meteor(), "install a Java runtime")


def test_missing_jar_gives_one_warning(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: "/bin/java")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert_one_warning_then_silence(Meteor(), "pip install pycocoevalcap")


def test_java_that_does_not_start_gives_one_warning(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_command", lambda *_: [str(tmp_path / "java")])
    assert_one_warning_then_silence(Meteor(), "did not start")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.exit('java.lang.OutOfMemoryError')", "by itself: java.lang.OutOfMemory"),
        ("import os; os.abort()", "by itself: exit status -6"),
        (
            # asked once, it answers as if asked several times, and waits
            "import sys; sys.stdin.readline(); "
            "print('1.0 2.0\\nError: specify SCORE\\n3.0', flush=True); sys.stdin.read()",
            "answered 'Error",
        ),
        (JAR.replace("0.0 ", "0,0 "), "where numbers were expected"),
        (JAR.replace("*scores", "*'NaN'"), "'N' where a score"),
        (JAR.replace("*scores", "float('nan'), *scores"), "'nan' where a score"),
        (JAR.replace("print(*", "print(1, *"), "without being asked"),
    ],
)
def test_wrong_answer_gives_one_warning(monkeypatch, script, reason):
    stand_in(monkeypatch, script)
    meteor = Meteor(timeout=HANG)
    if reason.endswith("asked"):
        meteor.score(CAPTIONS, REFERENCES)
        while meteor._process._answers.empty():  # until what nobody asked for has been read
            time.sleep(0.01)
    assert_one_warning_then_silence(meteor, reason)


@pytest.mark.parametrize(
    "script", ["input(); import time; time.sleep(99)", "import time; time.sleep(99)"]
)
def test_no_answer_in_time_gives_one_warning_and_kills(monkeypatch, script):
    stand_in(monkeypatch, script)
    meteor = Meteor(timeout=0.3)
    meteor.start()
    process = meteor._process._process
    assert_one_warning_then_silence(meteor, r"no answer for 0\.3 seconds")
    assert process.poll() is not None


def test_interrupted_exchange_leaves_no_answers_for_the_next(monkeypatch):
    stand_in(monkeypatch, JAR)
    with Meteor() as meteor, monkeypatch.context() as broken:
        broken.setattr(module, "_number", lambda answer: os.kill(os.getpid(), 2))
        with pytest.raises(KeyboardInterrupt):
            meteor.score(CAPTIONS, REFERENCES)
        broken.undo()
        stand_in(monkeypatch, JAR)
        assert meteor.score(["a b c"], [["x"]])[1].tolist() == [0.3]


def test_copy_starts_its_own_process(monkeypatch):
    stand_in(monkeypatch, JAR)
    with Meteor(language="other", timeout=HANG) as meteor, copy.deepcopy(meteor) as twin:
        assert twin._process is not meteor._process
        assert (twin._language, twin._timeout) == ("other", HANG)


def test_wrong_arguments_are_refused():
    with pytest.raises(UserError, match="no language 'zh'"):
        Meteor(language="zh")
    with pytest.raises(UserError, match="above 0"):
        Meteor(timeout=0)
    with pytest.raises(ValueError, match="2 captions but references for 1"):
        Meteor().score(["a", "b"], [["a"]])


@pytest.mark.slow
def test_program_ends_at_once_with_the_process_still_busy(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, threading\nfrom captionlab.metrics import meteor\n"
        "meteor._command = lambda *_: [sys.executable, '-c', 'import time; time.sleep(9_999)']\n"
        "m = meteor.Meteor()\nm.start()\nprint(m._process._process.pid)\n"
        "threading.Thread(target=m.score, args=(['a'], [['a']]), daemon=True).start()\n"
    )
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=HANG)
    assert result.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(result.stdout), 0)


needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="no Java")


@pytest.mark.slow
@pytest.mark.java
@needs_java
def test_real_captions_score_as_in_coco_caption(flickr8k, java_tokens):
    from pycocoevalcap.meteor.meteor import Meteor as CocoMeteor

    tokenized = java_tokens({i: flickr8k[i] for i in list(flickr8k)[:400]})
    tokenized["empty"] = ["", "a dog", "", "two", "x"]
    references = {i: texts[1:] for i, texts in tokenized.items()}
    captions = {i: texts[:1] for i, texts in tokenized.items()}
    corpus, each = CocoMeteor().compute_score(references, captions)
    with Meteor() as meteor:
        ours = meteor.score([texts[0] for texts in captions.values()], list(references.values()))
    assert ours[0] == pytest.approx(corpus, abs=1e-6)
    np.testing.assert_allclose(ours[1], each, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.java
@needs_java
def test_german_stems_count_and_its_letters_arrive():
    candidates = ["rote kreise", "ein großer ring über allem", "ein stern"]
    references = [["roter kreis"], ["ein großer ring über allem"], ["das dreieck"]]
    with Meteor(language="de") as meteor, Meteor(language="other") as plain:
        _, (stems, equal, different) = meteor.score(candidates, references)
        assert plain.score(candidates, references)[1][0] == 0 < stems < equal == 1
        assert different == 0


@pytest.mark.slow
@pytest.mark.java
@needs_java
@pytest.mark.parametrize("name", ["site packages", "ünder 狗"])
def test_the_path_and_a_comma_locale_change_nothing(monkeypatch, tmp_path, name):
    import pycocoevalcap

    folder = tmp_path / name
    shutil.copytree(Path(pycocoevalcap.__path__[0], "meteor"), folder / "meteor")
    before = sorted(folder.rglob("*"))
    package = SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: package)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Duser.country=DE")
    with Meteor() as meteor, Meteor(language="other") as plain:
        corpus, each = meteor.score(["a dog sprints", "café"], [["a hound runs"], ["café"]])
        assert each[0] > plain.score(["a dog sprints"], [["a hound runs"]])[0] > 0
    assert 0 < corpus <= 1
    assert sorted(folder.rglob("*")) == before
