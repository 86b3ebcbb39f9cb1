import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.additive import AdditiveAttention, GatedAdditiveAttention
from captionlab.models.attention.base import NoAttention
from captionlab.models.attention.dot import DotAttention
from captionlab.models.decoders.recurrent.rnn import rnn_decoder

KINDS = [NoAttention, AdditiveAttention, GatedAdditiveAttention, DotAttention]
PAD = 0


def _decoder(kind=AdditiveAttention, cell="lstm", *, hidden=12, memory_dim=6, **options):
    torch.manual_seed(0)
    decoder = rnn_decoder(
        cell,
        hidden=hidden,
        embedding=10,
        vocabulary_size=20,
        pad_id=PAD,
        memory_dim=memory_dim,
        attention=kind(query_dim=hidden, memory_dim=memory_dim),
        **options,
    )
    return decoder.double().eval()


def _batch():
    """Return three images of 5, 2 and 1 real slots, four captions each of 1 to 9 tokens."""
    torch.manual_seed(1)
    mask = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]
    memory = Memory(torch.randn(3, 5, 6).double(), torch.randn(3, 6).double(), mask)
    tokens = torch.randint(1, 20, (3, 4, 9))
    lengths = torch.tensor([[3, 9, 1, 5], [2, 4, 8, 1], [6, 6, 2, 0]])
    return memory, tokens.masked_fill(torch.arange(9) >= lengths[..., None], PAD)


def _stepwise(decoder, memory, tokens):
    """Return logits (B, K, T, V) and weights (B, K, T, N) | None of one token at a time."""
    state, logits, weights = decoder.init_state(memory, tokens.shape[1]), [], []
    for step in range(tokens.shape[2]):
        scores, state = decoder.step(tokens[:, :, step], state)
        logits.append(scores)
        weights.append(state.weights)
    return torch.stack(logits, 2), None if weights[0] is None else torch.stack(weights, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("layers", "deep", "attend"),
    [(1, True, "before"), (2, False, "before"), (1, True, "after"), (3, True, "after")],
)
def test_steps_equal_the_whole_sequence(kind, cell, layers, deep, attend):
    decoder = _decoder(kind, cell, layers=layers, deep_output=deep, attend=attend)
    memory, tokens = _batch()
    hidden, weights, *_ = decoder(memory, tokens)
    logits, step_weights = _stepwise(decoder, memory, tokens)
    real = tokens != PAD
    torch.testing.assert_close(decoder.logits(hidden)[real], logits[real])
    if weights is not None:
        torch.testing.assert_close(weights[real], step_weights[real])


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_alone_equals_the_image_in_a_batch_of_unequal_slots(kind):
    decoder, (memory, tokens) = _decoder(kind), _batch()
    together, *_ = decoder(memory, tokens)
    for image, slots in enumerate((5, 2, 1)):
        one = slice(image, image + 1)
        alone = Memory(memory.slots[one, :slots], memory.pooled[one], memory.mask[one, :slots])
        hidden, *_ = decoder(alone, tokens[one])
        real = tokens[one] != PAD
        torch.testing.assert_close(hidden[real], together[one][real])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cell", "attend"), [("lstm", "after"), ("gru", "before")])
def test_gradients_equal_those_of_single_steps(kind, cell, attend):
    decoder = _decoder(kind, cell, layers=2, deep_output=True, attend=attend)
    memory, tokens = _batch()
    real = tokens != PAD
    results = []
    for whole in (True, False):
        slots = memory.slots.clone().requires_grad_(True)
        seen = Memory(slots, slots.mean(1), memory.mask)
        decoder.zero_grad()
        hidden = decoder(seen, tokens)[0] if whole else None
        logits = decoder.logits(hidden) if whole else _stepwise(decoder, seen, tokens)[0]
        logits[real].log_softmax(-1).square().mean().backward()
        results.append([slots.grad, *(parameter.grad for parameter in decoder.parameters())])
    assert all(gradient is not None for gradient in results[0])
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize(
    ("cell", "torchs"), [("lstm", torch.nn.LSTMCell), ("gru", torch.nn.GRUCell)]
)
def test_cells_equal_torchs(cell, torchs):
    decoder = _decoder(cell=cell)
    ours, theirs = decoder.cell.bottom, torchs(16, 12).double()
    words, context = torch.randn(2, 10).double(), torch.randn(1, 2, 6).double()
    state = tuple(torch.randn(1, 2, 12).double() for _ in range(1 + (cell == "lstm")))
    with torch.no_grad():
        seen = ours.recurrent.weight[:, :6] if cell == "lstm" else ours.context.weight
        kept = ours.recurrent.weight[:, 6:] if cell == "lstm" else ours.recurrent.weight
        theirs.weight_ih.copy_(torch.cat([ours.word.weight, seen], 1))
        theirs.weight_hh.copy_(kept)
        theirs.bias_ih.copy_(ours.word.bias)
        theirs.bias_hh.copy_(ours.recurrent.bias if cell == "gru" else theirs.bias_hh * 0)
    before = tuple(part[0] for part in state)
    expected = theirs(torch.cat([words, context[0]], 1), before if len(before) > 1 else before[0])
    result = ours.precompute(words, [2])(0, context, state)
    expected = expected if isinstance(expected, tuple) else (expected,)
    torch.testing.assert_close(tuple(part[0] for part in result), expected)


def test_show_and_tell_reads_the_image_first():
    decoder, (memory, tokens) = _decoder(NoAttention, layers=2), _batch()
    words = decoder.words(tokens[0])
    image = decoder.cell.image(memory.pooled[:1])[:, None].expand(4, 1, -1)
    expected, *_ = decoder.cell.layers.rnn(torch.cat([image, words], 1))
    hidden, weights, *_ = decoder(memory, tokens)
    real = tokens[0] != PAD
    torch.testing.assert_close(hidden[0][real], expected[:, 1:][real])
    assert weights is None


def test_select_moves_beams_and_leaves_the_image():
    decoder, (memory, tokens) = _decoder(), _batch()
    _, state = decoder.step(tokens[:, :, 0], decoder.init_state(memory, 4))
    moved = state.select(torch.tensor([[3, 3], [0, 1], [2, 0]]))
    assert moved.keys is state.keys
    assert moved.memory is memory
    pairs = [*zip(state.recurrent, moved.recurrent, strict=True), (state.weights, moved.weights)]
    assert len(pairs) == 3
    for before, after in pairs:
        assert torch.equal(after[0], before[0, [3, 3]])
        assert torch.equal(after[2], before[2, [2, 0]])


def test_weights_say_where_each_step_looked():
    decoder, (memory, tokens) = _decoder(), _batch()
    assert decoder.init_state(memory, 4).weights is None
    weights = decoder(memory, tokens).weights
    assert weights.shape == (3, 4, 9, 5)
    real = tokens != PAD
    torch.testing.assert_close(weights.sum(-1)[real], torch.ones(int(real.sum())).double())


def test_batch_without_any_token_gives_finite_results():
    decoder, (memory, tokens) = _decoder(), _batch()
    hidden, *_ = decoder(memory, torch.full_like(tokens, PAD))
    assert hidden.shape == (3, 4, 9, 12)
    assert hidden.isfinite().all()


def test_tied_weights_are_one_tensor_and_need_one_size():
    decoder = _decoder(deep_output=True, tie_weights=True)
    assert decoder.output.weight is decoder.words.weight
    with pytest.raises(UserError, match=r"hidden \(12\) equal to embedding \(10\)"):
        _decoder(tie_weights=True)


def test_bfloat16_autocast_stays_near_single_precision():
    decoder, (memory, tokens) = _decoder(GatedAdditiveAttention).float(), _batch()
    memory = Memory(memory.slots.float(), memory.pooled.float(), memory.mask)
    expected, *_ = decoder(memory, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, *_ = decoder(memory, tokens)
        decoder.logits(hidden).float().square().mean().backward()
    real = tokens != PAD
    torch.testing.assert_close(hidden[real].float(), expected[real], atol=0.02, rtol=0.02)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in decoder.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "lstn"}, "cell 'lstn': did you mean 'lstm'"),
        ({"layers": 0}, "layers=0"),
        ({"attend": "afetr"}, "attend='afetr': did you mean 'after'"),
        ({"attend": "after"}, "set deep_output=true"),
        ({"attention": AdditiveAttention(query_dim=9, memory_dim=6)}, "queries 9 .* hidden=12"),
        ({"memory_dim": 7}, "memory 6 wide.* memory_dim=7"),
    ],
)
def test_parts_that_do_not_fit_are_refused(options, message):
    sizes = {"hidden": 12, "embedding": 10, "vocabulary_size": 20, "pad_id": PAD, "memory_dim": 6}
    attention = AdditiveAttention(query_dim=12, memory_dim=6)
    with pytest.raises(UserError, match=message):
        rnn_decoder(**{"attention": attention, **sizes, **options})


@pytest.mark.parametrize("kind", [NoAttention, AdditiveAttention])
def test_memory_of_another_width_is_refused(kind):
    decoder, (memory, tokens) = _decoder(kind, memory_dim=8), _batch()
    with pytest.raises(UserError, match=r"memory is 6 wide .* built for width 8"):
        decoder(memory, tokens)
