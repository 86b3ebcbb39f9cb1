import pytest
import torch
from torch.distributions import Normal, kl_divergence

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.decoding.beam import Beam
from captionlab.models.attention.additive import AdditiveAttention
from captionlab.models.attention.base import NoAttention
from captionlab.models.decoders.recurrent.latent import Gaussian, latent_decoder
from tests_support import tiny_captioner

PAD = 0
KINDS = [NoAttention, AdditiveAttention]


def _decoder(kind=AdditiveAttention, **options) -> latent_decoder:
    torch.manual_seed(0)
    decoder = latent_decoder(
        latent=4,
        hidden=12,
        embedding=10,
        dropout=0.0,
        vocabulary_size=20,
        pad_id=PAD,
        memory_dim=6,
        attention=kind(query_dim=12, memory_dim=6),
        **options,
    )
    return decoder.double().eval()


def _batch():
    torch.manual_seed(1)
    mask = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]
    memory = Memory(torch.randn(3, 5, 6).double(), torch.randn(3, 6).double(), mask)
    tokens = torch.randint(1, 20, (3, 4, 9))
    lengths = torch.tensor([[3, 9, 1, 5], [2, 4, 8, 1], [6, 6, 2, 0]])
    return memory, tokens.masked_fill(torch.arange(9) >= lengths[..., None], PAD)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("deep", [True, False])
def test_latent_steps_equal_the_whole_sequence(kind, deep):
    decoder, (memory, tokens) = _decoder(kind, deep_output=deep), _batch()
    whole = decoder.logits(decoder(memory, tokens).hidden)
    state, logits = decoder.init_state(memory, 4), []
    for step in range(9):
        scores, state = decoder.step(tokens[:, :, step], state)
        logits.append(scores)
    real = tokens != PAD
    torch.testing.assert_close(torch.stack(logits, 2)[real], whole[real], atol=1e-9, rtol=0)


def test_evaluation_does_not_peek_at_the_later_words():
    decoder, (memory, tokens) = _decoder(), _batch()
    other = tokens.clone()
    other[0, 1, 5:] = 7
    before, after = (decoder(memory, t) for t in (tokens, other))
    torch.testing.assert_close(before.hidden[0, 1, :5], after.hidden[0, 1, :5])
    assert not torch.allclose(before.kl[0, 1], after.kl[0, 1])  # the posterior did read them


def test_training_draws_a_latent_of_its_own_for_each_caption():
    decoder, (memory, tokens) = _decoder().train(), _batch()
    tokens = tokens[:, 1:2].expand(-1, 2, -1)
    one, two = decoder(memory, tokens), decoder(memory, tokens)
    assert one.kl.shape == (3, 2, 4)
    assert (one.kl >= 0).all()
    assert not torch.allclose(one.hidden, two.hidden)
    assert not torch.allclose(one.hidden[:, 0], one.hidden[:, 1])


def test_one_caption_alone_equals_the_same_caption_in_a_batch():
    decoder, (memory, tokens) = _decoder(), _batch()
    together = decoder(memory, tokens)
    alone = decoder(memory.take(torch.tensor([1])), tokens[1:2, 2:3, :8])
    torch.testing.assert_close(alone.kl[0, 0], together.kl[1, 2])
    torch.testing.assert_close(alone.hidden[0, 0], together.hidden[1, 2, :8])


def test_kl_equals_torch_distributions():
    q, p = (Gaussian(torch.randn(5, 3), torch.randn(5, 3)) for _ in range(2))
    normal = [Normal(g.mean, (g.log_variance / 2).exp()) for g in (q, p)]
    torch.testing.assert_close(q.kl(p), kl_divergence(*normal))


def test_the_gradient_reaches_prior_posterior_and_reader():
    decoder, (memory, tokens) = _decoder().train(), _batch()
    decoded = decoder(memory, tokens)
    (decoded.hidden[tokens != PAD].square().sum() + decoded.kl.sum()).backward()
    for part in (decoder.prior, decoder.posterior, decoder.reader, decoder.meaning):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_drawn_latents_differ_by_beam_follow_it_and_repeat_with_a_seed():
    decoder, (memory, _) = _decoder(), _batch()
    one, two = (
        decoder.sample_init_state(memory, 3, torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(one.latent, two.latent)
    assert one.latent.unique().numel() == 3 * 3 * 4
    order = torch.tensor([[2, 0], [1, 1], [0, 2]])
    assert torch.equal(one.select(order).latent[0, 0], one.latent[0, 2])
    _, following = decoder.step(torch.ones(3, 3, dtype=torch.long), one)
    assert torch.equal(following.latent, one.latent)


def test_a_captioner_without_a_latent_starts_drawn_as_it_starts():
    memory_of = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    plain, latent = tiny_captioner().eval(), tiny_captioner("model/decoder=latent_lstm").eval()
    memory = plain.encode(memory_of)
    bos = torch.ones(2, 2, dtype=torch.long)
    starts = (plain.sample_init_state(memory, 2), plain.init_state(memory, 2))
    assert torch.equal(*(plain.step(bos, start)[0] for start in starts))
    drawn = latent.sample_init_state(latent.encode(memory_of), 2)
    assert not torch.equal(drawn.latent[:, 0], drawn.latent[:, 1])


def test_beam_search_of_a_latent_captioner_is_deterministic():
    captioner = tiny_captioner("model/decoder=latent_lstm").eval()
    memory = captioner.encode(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    ids = {"bos_id": 1, "eos_id": 2, "pad_id": 0}
    one, two = (Beam(beam_size=3, max_length=6)(captioner, memory, **ids) for _ in range(2))
    assert torch.equal(one.tokens, two.tokens)


def test_no_latent_dimension_is_refused():
    with pytest.raises(UserError, match="latent=0"):
        tiny_captioner("model/decoder=latent_lstm", "model.decoder.latent=0")
