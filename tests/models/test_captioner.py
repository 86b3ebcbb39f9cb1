import torch

from captionlab.models.attention.additive import GatedAdditiveAttention
from captionlab.models.attention.base import NoAttention
from captionlab.models.captioner import Captioner
from captionlab.models.decoders.recurrent.rnn import rnn_decoder
from captionlab.models.encoders.small_cnn import SmallCNN


def _captioner(kind=GatedAdditiveAttention):
    torch.manual_seed(0)
    encoder = SmallCNN(channels=(4, 8), image_size=16)
    attention = kind(query_dim=12, memory_dim=encoder.dim)
    decoder = rnn_decoder(
        hidden=12,
        embedding=10,
        dropout=0.0,
        vocabulary_size=20,
        pad_id=0,
        memory_dim=encoder.dim,
        attention=attention,
    )
    return Captioner(encoder, decoder)


def _batch():
    torch.manual_seed(1)
    images = torch.randint(256, (3, 3, 16, 16), dtype=torch.uint8)
    tokens = torch.randint(1, 20, (3, 2, 6)).masked_fill(torch.arange(6) > 4, 0)
    return images, tokens


def test_forward_encodes_and_decodes():
    captioner, (images, tokens) = _captioner().eval(), _batch()
    hidden, weights, *_ = captioner(images, tokens)
    logits, state = captioner.step(
        tokens[..., 0], captioner.init_state(captioner.encode(images), 2)
    )
    torch.testing.assert_close(captioner.logits(hidden)[:, :, 0], logits)
    torch.testing.assert_close(weights[:, :, 0], state.weights)


def test_attention_penalty_is_the_attentions():
    assert _captioner().attention_penalty == 1.0
    assert _captioner(NoAttention).attention_penalty == 0.0


def test_a_few_captions_are_learned_by_heart():
    captioner, (images, tokens) = _captioner(), _batch()
    optimizer = torch.optim.Adam(captioner.parameters(), lr=0.02)
    targets = tokens[..., 1:]
    real = targets != 0
    for _ in range(80):
        hidden, *_ = captioner(images, tokens[..., :-1].masked_fill(~real, 0))
        loss = torch.nn.functional.cross_entropy(captioner.logits(hidden[real]), targets[real])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
