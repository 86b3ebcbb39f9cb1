import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers.shapes import Shapes, is_true
from captionlab.data.records import CaptionRecord
from captionlab.shapes.scene import COLORS, HELD_OUT, SHAPES
from captionlab.shapes.write import LANGUAGES
from tests_support import HANG


def kinds(source, split):
    scenes = (source.scene(record.image_id) for record in source.records(split))
    return [{(thing.color, thing.shape) for thing in scene.objects} for scene in scenes]


@pytest.fixture(scope="module")
def source():
    return Shapes(train_size=400, val_size=100, test_size=150)


def test_records_are_the_same_every_time_and_in_every_order(source):
    again = Shapes(train_size=400, val_size=100, test_size=150).records("train")
    records = source.records("train")
    for index in (7, 0, 399, 7):
        assert records[index].captions == again[index].captions
        assert np.array_equal(records[index].image(), again[index].image())
    assert records[-1].image_id == "train-399"
    assert [record.image_id for record in records[3:5]] == ["train-3", "train-4"]


def test_more_training_images_change_no_image(source):
    longer = Shapes(train_size=800).records("train")
    assert longer[5].captions == source.records("train")[5].captions


@pytest.mark.parametrize("change", [{"seed": 1}, {"language": "zh"}, {"language": "de"}])
def test_seed_changes_scenes_and_language_only_captions(source, change):
    other = Shapes(**change)
    same = other.scene("test-3") == source.scene("test-3")
    assert same == ("language" in change)
    assert other.records("test")[3].captions != source.records("test")[3].captions


def test_a_record_has_five_different_captions_and_draws_itself(source):
    record = source.records("val")[2]
    assert isinstance(record, CaptionRecord)
    assert len(set(record.captions)) == 5
    image = record.image()
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert len(Shapes(captions_per_image=20).records("test")[0].captions) == 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_caption_is_true_of_its_own_image(language):
    source = Shapes(language=language, test_size=400)
    for split in ("test", "test_unseen"):
        for record in source.records(split):
            for caption in record.captions:
                assert source.truth(record.image_id, caption), (record.image_id, caption)


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_of_thousands_of_scenes_are_true(language):
    source = Shapes(language=language, train_size=6000, seed=3)
    for record in source.records("train"):
        assert all(source.truth(record.image_id, caption) for caption in record.captions)


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_are_mostly_false_of_another_image(language):
    source = Shapes(language=language, test_size=400)
    scenes = [source.scene(record.image_id) for record in source.records("test")]
    verdicts = [
        is_true(caption, scene)
        for record, scene in zip(source.records("test"), scenes[1:], strict=False)
        for caption in record.captions
    ]
    assert sum(verdicts) / len(verdicts) < 0.05


def test_unseen_pairs_are_in_every_unseen_image_and_nowhere_else(source):
    assert all(pairs & HELD_OUT for pairs in kinds(source, "test_unseen"))
    for split in ("train", "val", "test"):
        assert not any(pairs & HELD_OUT for pairs in kinds(source, split))


def test_every_color_and_every_shape_is_seen_in_training(source):
    pairs = set().union(*kinds(source, "train"))
    assert {color for color, _ in pairs} == set(COLORS)
    assert {shape for _, shape in pairs} == set(SHAPES)


def test_the_english_vocabulary_has_over_150_frequent_words():
    counts = {}
    for record in Shapes(train_size=1500).records("train"):
        for word in " ".join(record.captions).lower().replace(",", "").replace(".", "").split():
            counts[word] = counts.get(word, 0) + 1
    assert sum(count >= 5 for count in counts.values()) >= 150


def test_records_travel_to_worker_processes(source):
    records = pickle.loads(pickle.dumps(source.records("train")))
    record = pickle.loads(pickle.dumps(records[1]))
    assert np.array_equal(record.image(), source.records("train")[1].image())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"language": "nl"}, "language='nl'.*choose from de, en, zh"),
        ({"language": "enn"}, "language='enn'.*did you mean 'en'"),
        ({"train_size": 0}, "train_size=0"),
        ({"test_size": 2.5}, "test_size=2.5"),
        ({"image_size": 8}, "image_size=8"),
        ({"captions_per_image": 0}, "captions_per_image=0"),
        ({"seed": "x"}, "seed='x'"),
    ],
)
def test_an_impossible_value_is_named(arguments, named):
    with pytest.raises(UserError, match=named):
        Shapes(**arguments)


def test_an_unknown_split_or_image_is_named(source):
    with pytest.raises(UserError, match="did you mean 'test'"):
        source.records("tset")
    with pytest.raises(UserError, match="test-0 to test-149"):
        source.truth("test-150", "A red circle.")
    with pytest.raises(IndexError, match="no number 400"):
        source.records("train")[400]


def test_every_process_sees_the_same_data():
    """Strings hash differently in each process: nothing drawn may follow the order of a set."""
    code = (
        "import hashlib; from captionlab.data.readers.shapes import Shapes\n"
        "digest = hashlib.sha256()\n"
        "for language in ('de', 'en', 'zh'):\n"
        "    data = Shapes(language=language, train_size=1500, val_size=2, test_size=2)\n"
        "    for record in data.records('train'):\n"
        "        digest.update(repr((record.image_id, record.captions)).encode())\n"
        "for record in list(data.records('train'))[:20]:\n"
        "    digest.update(record.image().tobytes())\n"
        "print(digest.hexdigest())"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={
                **os.environ,
                "PYTHONHASHSEED": str(seed),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (0, 1, 2)
    ]
    digests = [process.communicate(timeout=HANG)[0] for process in running]
    assert len(digests[0]) == 65
    assert len(set(digests)) == 1
