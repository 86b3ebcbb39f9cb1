from dataclasses import dataclass, replace

import pytest
import torch

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.inference.checkpoints import Checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.models.tags import TagHead, content_ids, mean_average_precision
from captionlab.objectives.base import with_tags
from captionlab.objectives.distillation.objective import Distillation
from captionlab.objectives.likelihood.cross_entropy import CrossEntropy
from captionlab.objectives.likelihood.scheduled_sampling import ScheduledSampling
from captionlab.text.tokenizers import WordTokenizer
from captionlab.text.vocabulary import Vocabulary
from tests_support import tiny_config

WORDS = ("", "", "", "", "a", "dog", "the", "red", "9", "runs", "b")


def _head(**options) -> TagHead:
    return TagHead(words=WORDS, memory_dim=3, **options)


def test_tags_are_the_first_words_that_say_something():
    assert content_ids(WORDS, 9) == [5, 7, 9]
    assert content_ids(WORDS, 2) == [5, 7]
    assert content_ids(("一", "狗", "狗"), 3) == [1]


def test_targets_are_the_words_of_any_caption():
    tokens = torch.tensor([[[1, 4, 5, 2], [1, 9, 2, 0]], [[1, 4, 6, 2], [0, 0, 0, 0]]])
    assert _head().targets(tokens).tolist() == [[True, False, True], [False, False, False]]


def test_average_precision_by_hand():
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    there = torch.tensor([[True, False], [False, False], [True, False]])
    assert mean_average_precision(scores, there) == pytest.approx((1 + 2 / 3) / 2)


def test_a_constant_score_gains_no_average_precision_by_the_order_of_images():
    there = torch.tensor([[True], [False], [False], [False]])
    assert mean_average_precision(torch.zeros(4, 1), there) == pytest.approx(0.25)
    assert mean_average_precision(torch.zeros(4, 1), there.flip(0)) == pytest.approx(0.25)


def test_the_head_learns_its_tags():
    head = _head()
    pooled = torch.randn(8, 3)
    memory = Memory(pooled[:, None], pooled, torch.ones(8, 1, dtype=torch.bool))
    tokens = torch.where(pooled[:, :1] > 0, 5, 9)[:, None]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.3)
    for _ in range(50):
        optimizer.zero_grad()
        head.loss(memory, tokens).backward()
        optimizer.step()
    assert mean_average_precision(head(memory), head.targets(tokens)) > 0.95


@dataclass
class Batch:
    images: torch.Tensor
    tokens: torch.Tensor
    lengths: torch.Tensor
    prompts: None = None


def _captioner(*overrides: str):
    model = tiny_config("model/tags=default", *overrides)["model"]
    return build_captioner(model, Sizes(len(WORDS), 0, WORDS)).eval()


@pytest.mark.parametrize("objective", [CrossEntropy(), ScheduledSampling()])
def test_every_objective_gets_the_loss_of_the_tags(objective):
    captioner = _captioner("model.tags.weight=0.5")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    tokens = torch.tensor([[[1, 4, 5, 2]], [[1, 9, 6, 2]]])
    batch = Batch(images, tokens, torch.tensor([[4], [4]]))
    plain, _ = objective(captioner, batch)
    loss, diagnostics = with_tags(objective, captioner, batch)
    assert loss.item() == pytest.approx(plain.item() + 0.5 * diagnostics["tags"].item(), abs=1e-5)
    loss.backward()
    assert captioner.tags.output.weight.grad.abs().sum() > 0


def test_a_teacher_beside_tags_sees_the_images_and_not_what_the_students_encoder_sees():
    student, teacher = _captioner(), _captioner("model.encoder.channels=[4,6,8]")
    objective = Distillation(teacher="teacher.ckpt")
    objective.set_teachers([teacher])
    seen = []
    teacher.encoder.register_forward_hook(lambda module, inputs, memory: seen.append(inputs[0]))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    tokens = torch.tensor([[[1, 4, 5, 2]], [[1, 9, 6, 2]]])
    batch = Batch(images, tokens, torch.tensor([[4], [4]]))
    plain, _ = objective(student, batch)
    loss, diagnostics = with_tags(objective, student, batch)
    weighed = student.tags.weight * diagnostics["tags"].item()
    assert loss.item() == pytest.approx(plain.item() + weighed, abs=1e-5)
    assert len(seen) == 2
    assert torch.equal(seen[1], images)


@pytest.mark.parametrize("width", [16, 128], ids=["narrow", "as wide as the encoder's"])
def test_a_connector_stands_once_before_tags_and_decoder(width):
    captioner = _captioner("model/connector=linear", f"model.connector.width={width}")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    tokens = torch.tensor([[[1, 4, 5, 2]], [[1, 9, 6, 2]]])
    batch = Batch(images, tokens, torch.tensor([[4], [4]]))
    plain, _ = CrossEntropy()(captioner, batch)
    loss, _ = with_tags(CrossEntropy(), captioner, batch)
    tags = captioner.tags.loss(captioner.encode(images), tokens)
    assert captioner.encoder.dim == 128
    assert loss.item() == pytest.approx((plain + captioner.tags.weight * tags).item(), abs=1e-5)


def test_a_checkpoint_with_tags_is_built_again(tmp_path):
    tokenizer = WordTokenizer(Vocabulary(["a", "dog", "the", "red", "runs"]))
    model = tiny_config("model/tags=default")["model"]
    captioner = build_captioner(model, Sizes.of(tokenizer))
    checkpoint = Checkpoint(
        tmp_path, {"model": model}, tokenizer, [], captioner.state_dict(), epochs=1
    )
    again = captioner_of(checkpoint)
    assert again.tags.tags == ("dog", "red", "runs")
    assert torch.equal(again.tags.output.weight, captioner.tags.output.weight)
    bare = replace(checkpoint, config={"model": {**model, "tags": None}})
    with pytest.raises(UserError, match="tags"):
        captioner_of(bare)


@pytest.mark.parametrize("option", [{"size": 0}, {"weight": 0.0}])
def test_impossible_tags_are_refused(option):
    with pytest.raises(UserError, match=next(iter(option))):
        _head(**option)


def test_tags_of_a_vocabulary_without_content_words_are_refused():
    with pytest.raises(UserError, match="nothing to predict"):
        TagHead(words=("", "the"), memory_dim=3)
