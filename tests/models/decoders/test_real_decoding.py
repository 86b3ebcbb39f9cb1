"""Every decoding method on the real recurrent decoders."""

import pytest
import torch

from captionlab.decoding import Beam, Greedy, Sampling
from tests_support import tiny_captioner

IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0}


def captioner(attention: str, decoder: str):
    built = tiny_captioner(f"model/attention={attention}", f"model/decoder={decoder}", vocabulary=9)
    return built.eval()


@pytest.mark.parametrize("decoder", ["lstm", "gru"])
@pytest.mark.parametrize("attention", ["none", "additive", "gated_additive", "dot"])
def test_one_image_alone_gets_the_caption_it_gets_in_a_batch(attention: str, decoder: str):
    model = captioner(attention, decoder)
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    for method in (Greedy(max_length=8), Beam(beam_size=4, max_length=8)):
        together = method(model, model.encode(images), **IDS)
        for i in range(3):
            alone = method(model, model.encode(images[i : i + 1]), **IDS)
            length = int(alone.lengths[0, 0])
            assert together.tokens[i, 0, :length].tolist() == alone.tokens[0, 0, :length].tolist()
            torch.testing.assert_close(together.scores[i, 0], alone.scores[0, 0])


@pytest.mark.parametrize("attention", ["none", "dot"])
def test_scores_are_the_models_own_log_probabilities(attention: str):
    model = captioner(attention, "lstm")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    memory = model.encode(images)
    found = Sampling(num_samples=3, max_length=6, seed=1)(model, memory, **IDS)
    bos = torch.full((2, 3, 1), IDS["bos_id"])
    hidden, *_ = model.decoder(memory, torch.cat([bos, found.tokens[..., :-1]], -1))
    log_probabilities = model.logits(hidden).log_softmax(-1)
    picked = log_probabilities.gather(-1, found.tokens[..., None]).squeeze(-1)
    real = torch.arange(found.tokens.shape[-1]) < found.lengths[..., None]
    torch.testing.assert_close((picked * real).sum(-1), found.log_probs, atol=1e-4, rtol=1e-4)
