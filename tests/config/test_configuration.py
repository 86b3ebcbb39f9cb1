import pytest

from captionlab.config.check import check
from captionlab.config.compose import compose
from captionlab.config.override import override
from captionlab.config.parts import require_parts
from captionlab.config.resolve import resolve
from captionlab.core.errors import UserError
from captionlab.core.targets import locate
from tests_support import tiny_config


def test_all_mistakes_are_reported_at_once_with_their_keys():
    config = tiny_config()
    config["decoding"]["max_lenght"] = 5
    config["model"]["decoder"]["layers"] = "two"
    with pytest.raises(UserError) as error:
        check(config)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert any("decoding.max_lenght" in line and "max_length" in line for line in lines)
    assert any("model.decoder.layers='two'" in line and "whole number" in line for line in lines)


def test_a_size_that_follows_from_another_part_cannot_be_set():
    config = tiny_config()
    config["model"]["decoder"]["vocabulary_size"] = 5
    with pytest.raises(UserError, match=r"model\.decoder\.vocabulary_size"):
        check(config)


def test_an_integer_may_stand_for_a_float_but_not_the_reverse():
    config = tiny_config()
    config["optimizer"]["weight_decay"] = 0
    check(config)
    config["data"]["batch_size"] = 2.5
    with pytest.raises(UserError, match=r"data\.batch_size=2\.5"):
        check(config)


def test_a_missing_value_is_asked_for_by_key():
    with pytest.raises(UserError, match=r"data\.root has no value"):
        resolve(compose(["data=flickr8k", "output_dir=unused"]))


def test_an_unknown_class_gets_the_nearest_name():
    with pytest.raises(UserError, match="did you mean 'CrossEntropy'"):
        locate("captionlab.objectives.likelihood.cross_entropy.CrossEntrop")


def test_override_replaces_a_group_and_keeps_the_rest():
    stored = tiny_config()
    new = override(stored, ["decoding=beam", "decoding.beam_size=7"], ["decoding", "data"])
    assert new["decoding"]["beam_size"] == 7
    assert new["model"] == stored["model"]
    assert new["data"] == stored["data"]


def test_override_gives_new_data_the_size_of_the_stored_encoder():
    stored = tiny_config()
    new = override(stored, ["data=flickr8k", "data.root=here"], ["decoding", "data"])
    assert new["data"]["image_size"] == 32
    assert new["data"]["source"]["root"] == "here"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("decoding=beem", "beam"),
        ("decoding.bean_size=2", "decoding.bean_size"),
        ("optimizer=sgd", "optimizer"),
        ("decoding.x=[", "cannot be read"),
    ],
)
def test_override_names_a_mistake(text: str, part: str):
    with pytest.raises(UserError, match=part):
        override(tiny_config(), ["decoding=beam", text], ["decoding", "data"])


@pytest.mark.parametrize(
    ("override_", "part"),
    [
        ("data.tokenizer=character", "data/tokenizer=character"),
        ("model.decoder=gru", "model/decoder=gru"),
        ("model.encoder=resnet18", "model/encoder=resnet18"),
        ("model.attention=dott", "did you mean 'dot'"),
        ("model.tags=default", "model/tags=default"),
        ("data.source=captions.csv", "data=NAME"),
        ("data.augment=standard", "data/augment=standard"),
        ("objective=adversarial objective.discriminator=cnn", "objective/discriminator=cnn"),
        ("objective=self_critical objective.reward=truth", "objective/reward=truth"),
        ("model.decoder=5", "model/decoder=NAME"),
        ("model.decoder=[lstm]", "model/decoder=NAME"),
        ("optimizer={lr:1}", None),
        ("data.source=null", "data.source=null"),
        ("model.encoder=null", "model/encoder=NAME"),
        ("optimizer=null", "optimizer=NAME (adam"),
        ("~decoding", "decoding=NAME"),
        ("objective=null", "objective=NAME"),
        ("trainer=null", "trainer=NAME"),
    ],
)
def test_a_text_or_nothing_in_a_parts_place_is_told_the_slash(override_: str, part: str | None):
    if part is None:
        require_parts(compose([*override_.split(" "), "output_dir=unused"]))
        return
    with pytest.raises(UserError) as error:
        require_parts(compose([*override_.split(" "), "output_dir=unused"]))
    assert part in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "none", ["logger=null", "callbacks=null", "callbacks=[]", "scheduler=null"]
)
def test_null_is_none_where_that_can_be(none: str):
    config = compose([none, "output_dir=unused"])
    require_parts(config)
    assert not resolve(config)[none.partition("=")[0]]
