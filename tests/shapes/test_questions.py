"""Questions about drawn scenes: true answers, none of which the question gives away."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers.shapes import Shapes, ShapesQuestions, is_true
from captionlab.shapes.questions import KINDS
from captionlab.shapes.scene import COLORS, HELD_OUT, SHAPES

NUMBERS = ("no", "one", "two", "three", "four")
PLACES = {
    "center": "in the center",
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "top left": "in the top left corner",
    "top right": "in the top right corner",
    "bottom left": "in the bottom left corner",
    "bottom right": "in the bottom right corner",
}


@pytest.fixture(scope="module")
def source():
    return ShapesQuestions(train_size=600, val_size=20, test_size=300)


def asked(source, split):
    """(image id, kind, question, answer) of a split."""
    return [
        (record.image_id, prompt.id.split("-")[-2], prompt.question, answer)
        for record in source.records(split)
        for prompt, answer in zip(record.prompts, record.captions, strict=True)
    ]


def count_sentence(things, number):
    if number == "0":
        return f"there is a {things}."
    if number == "1":
        return f"there is one {things}."
    return f"there are {NUMBERS[int(number)]} {things}."


def holds(kind, question, answer, scene):
    """Whether an answer is true, by the parser and judge of captions, which know no questions."""
    about = question.rstrip("?")
    if kind == "color":
        return is_true(f"the {about.rpartition(' the ')[2]} is {answer}.", scene, "en")
    if kind == "count":
        things = (
            about.removeprefix("How many ").removesuffix(" are there").removesuffix(" do you see")
        )
        one = re.sub(r"(?<=s)es$|s$", "", things)
        said = is_true(count_sentence(things if answer in "234" else one, answer), scene, "en")
        return said != (answer == "0")
    if kind == "exists":
        return is_true(f"there is {about.removeprefix('Is there ')}.", scene, "en") == (
            answer == "yes"
        )
    if kind == "where":
        return is_true(f"the {about.partition(' the ')[2]} is {PLACES[answer]}.", scene, "en")
    word, *names = re.fullmatch(r"Which is (\w+), the (.*) or the (.*)", about).groups()
    other = names[1 - names.index(answer)]
    return is_true(f"the {answer} is {word} than the {other}.", scene, "en")


@pytest.mark.parametrize("split", ["train", "test_unseen"])
def test_every_answer_is_true_by_the_judge_of_captions(source, split):
    seen = Counter()
    for image_id, kind, question, answer in asked(source, split):
        assert holds(kind, question, answer, source.scene(image_id)), (image_id, question, answer)
        seen[kind] += 1
    assert set(seen) == set(KINDS)


@pytest.mark.parametrize("split", ["train", "test_unseen"])
def test_another_answer_would_be_false(source, split):
    others = {"exists": ("yes", "no"), "color": COLORS, "count": "01234"}
    for image_id, kind, question, answer in asked(source, split):
        for other in set(others.get(kind, ())) - {answer}:
            assert not holds(kind, question, other, source.scene(image_id)), (question, other)
        if kind == "larger":
            names = re.findall(r"the (\w+ \w+)", question)
            other = names[1 - names.index(answer)]
            assert not holds(kind, question, other, source.scene(image_id))


@pytest.mark.parametrize("split", ["train", "test", "test_unseen"])
def test_half_of_what_is_asked_is_there_in_each_wording(source, split):
    answers = defaultdict(Counter)
    for _, kind, question, answer in asked(source, split):
        if kind == "exists":
            answers["shape" in question, len(question.split())][answer] += 1
    for counts in answers.values():
        assert counts["yes"] == counts["no"] > 0


def test_a_question_does_not_give_its_answer_away(source):
    longer = ShapesQuestions(train_size=2500)
    there, numbers, first, places = defaultdict(Counter), Counter(), Counter(), Counter()
    for _, kind, question, answer in asked(longer, "train"):
        if kind == "exists":
            for word in set(re.findall(r"\w+", question)) & {*COLORS, *SHAPES}:
                there[word][answer] += 1
        elif kind == "count":
            numbers[answer] += 1
        elif kind == "larger":
            first[question.split(", the ")[1].startswith(answer)] += 1
        elif kind == "where":
            places[answer] += 1
    assert set(there) == {*COLORS, *SHAPES}
    for word, counts in there.items():
        # five standard deviations of a fair coin
        assert counts["yes"] / counts.total() == pytest.approx(
            0.5, abs=2.5 / counts.total() ** 0.5
        ), word
    assert first[True] / first.total() == pytest.approx(0.5, abs=0.05)
    assert max(numbers.values()) < 0.5 * numbers.total()
    assert len(places) == 9
    assert max(places.values()) < 0.2 * places.total()


def test_held_out_pairs_are_asked_for_in_their_own_split_alone(source):
    names = "|".join(rf"\b{color} {shape}(e?s)?\b" for color, shape in HELD_OUT)
    pairs = re.compile(names)
    for split in ("train", "val", "test"):
        for _, _, question, answer in asked(source, split):
            assert not pairs.search(f"{question} {answer}"), question
    for image_id, kind, question, answer in asked(source, "test_unseen"):
        if kind == "color":
            scene = source.scene(image_id)
            shape = question.rstrip("?").split()[-1]
            assert (answer, shape) in HELD_OUT
            assert any((t.color, t.shape) in HELD_OUT for t in scene.objects)
        else:
            assert pairs.search(question), question


def test_the_pictures_are_those_of_the_captions(source):
    plain = Shapes(train_size=600, val_size=20, test_size=300)
    for split in source.splits:
        ours, theirs = source.records(split)[7], plain.records(split)[7]
        assert ours.image_id == theirs.image_id
        assert np.array_equal(ours.image(), theirs.image())


def test_questions_are_the_same_every_time_and_of_their_seed(source):
    again = ShapesQuestions(train_size=9000, test_size=300).records("train")
    assert again[11].prompts == source.records("train")[11].prompts
    assert again[11].captions == source.records("train")[11].captions
    assert ShapesQuestions(seed=1).records("train")[11].prompts != again[11].prompts


def test_a_record_has_one_answer_for_each_of_its_questions(source):
    ids = []
    for record in source.records("test"):
        assert 3 <= len(record.captions) == len(record.prompts) <= 7
        assert len({prompt.question for prompt in record.prompts}) == len(record.prompts)
        ids += [prompt.id for prompt in record.prompts]
    assert len(set(ids)) == len(ids)
    assert ids[0].startswith("test-0-color-")


def test_questions_are_in_english_alone():
    with pytest.raises(UserError, match="in English alone"):
        ShapesQuestions(language="de")


def test_a_source_of_questions_judges_no_captions(source):
    assert not hasattr(source, "truth")
