import pytest
import torch
import torch.nn.functional as F
from test_cross_entropy import batch
from torch import nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.captioner import Captioner, Decoded
from captionlab.models.likelihood import shift
from captionlab.objectives.likelihood.hard_attention import HardAttentionLoss
from tests_support import tiny_captioner


class Chooser(nn.Module):
    """Draws one of two slots a step, whose words differ; learns the chances of the slots."""

    pad_id, attention_penalty, output_dim = 0, 0.0, 11

    def __init__(self) -> None:
        super().__init__()
        self.preference = nn.Parameter(torch.zeros(2))
        self.words = nn.Parameter(torch.randn(2, 11))

    def forward(self, memory: Memory, tokens: torch.Tensor) -> Decoded:
        chances = torch.distributions.Categorical(logits=self.preference)
        slot = chances.sample(tokens.shape)
        entropy = chances.entropy().expand(tokens.shape)
        weights = F.one_hot(slot, 2).float()
        return Decoded(self.words[slot], weights, chances.log_prob(slot), entropy)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def _captioner() -> Captioner:
    return Captioner(tiny_captioner().encoder, Chooser()).eval()


def test_the_loss_is_that_of_the_paper_by_hand():
    captioner, example = _captioner(), batch()
    objective = HardAttentionLoss(reinforce=0.7, entropy=0.3)
    objective.baseline.fill_(-12.0)
    torch.manual_seed(3)
    loss, _ = objective(captioner, example)
    torch.manual_seed(3)
    inputs, targets, real = shift(example, 0)
    decoded = captioner.decoder(None, inputs)
    expected = torch.tensor(0.0)
    for b in range(2):
        for k in range(3):
            log_p = [
                decoded.hidden[b, k, t].log_softmax(-1)[targets[b, k, t]]
                for t in range(6)
                if real[b, k, t]
            ]
            if log_p:
                total = torch.stack(log_p).sum()
                choice = (decoded.log_choice[b, k] * real[b, k]).sum()
                uncertain = (decoded.entropy[b, k] * real[b, k]).sum()
                expected -= total + 0.7 * (total.detach() + 12) * choice + 0.3 * uncertain
    assert loss.item() == pytest.approx(expected.item() / int(real.sum()), abs=1e-5)
    grads = [
        torch.autograd.grad(v, captioner.decoder.preference, retain_graph=True)[0]
        for v in (loss, expected / real.sum())
    ]
    torch.testing.assert_close(*grads)


def test_the_better_slot_is_chosen_more_often():
    captioner, example = _captioner(), batch()
    with torch.no_grad():
        captioner.decoder.words.zero_()
        captioner.decoder.words[1, example.tokens.unique()[1:]] = -1.0
    objective = HardAttentionLoss()
    optimizer = torch.optim.SGD([captioner.decoder.preference], lr=0.2)
    for _ in range(100):
        optimizer.zero_grad()
        objective(captioner, example)[0].backward()
        optimizer.step()
    assert captioner.decoder.preference.softmax(-1)[0] > 0.7


def test_the_baseline_begins_at_the_first_mean_and_moves_by_a_tenth():
    captioner, example = _captioner(), batch()
    objective = HardAttentionLoss()
    _, first = objective(captioner, example)
    _, second = objective(captioner, example)
    tokens, captions = 16, 5
    assert first["baseline"].item() == pytest.approx(-first["nll"].item() * tokens / captions, 1e-5)
    expected = 0.9 * first["baseline"] - 0.1 * second["nll"] * tokens / captions
    assert second["baseline"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_baseline_survives_in_a_state_dict():
    objective, again = HardAttentionLoss(), HardAttentionLoss()
    objective(_captioner(), batch())
    again.load_state_dict(objective.state_dict())
    assert again.baseline == objective.baseline


def test_hard_attention_itself_learns_where_to_draw():
    captioner = tiny_captioner("model/attention=hard", "model.attention.expected=0.0").train()
    HardAttentionLoss(entropy=0.0)(captioner, batch())[0].backward()
    attention = captioner.decoder.cell.attention
    assert attention.key.weight.grad.abs().sum() > 0
    silent = HardAttentionLoss(reinforce=0.0, entropy=0.0)
    captioner.zero_grad()
    silent(captioner, batch())[0].backward()
    assert attention.score.grad is None or attention.score.grad.abs().sum() == 0


def test_soft_attention_is_refused():
    with pytest.raises(UserError, match="model/attention=hard"):
        HardAttentionLoss()(tiny_captioner().eval(), batch())


@pytest.mark.parametrize(
    "options", [{"reinforce": -1.0}, {"entropy": -1.0}, {"baseline_decay": 1.0}]
)
def test_impossible_factors_are_refused(options):
    with pytest.raises(UserError, match=next(iter(options))):
        HardAttentionLoss(**options)
