"""An ensemble is the mean of its members' probabilities, whatever they are made of."""

from __future__ import annotations

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.decoding import Beam, Greedy
from captionlab.decoding.ensemble import Ensemble, EnsembleMemory
from tests_support import PRESETS, tiny_preset

IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0}
IMAGES = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("name", PRESETS)
def test_a_model_with_itself_is_the_model(name: str):
    model = tiny_preset(name)
    twice = Ensemble([model, model])
    for method in (Beam(3, max_length=6), Greedy(max_length=6)):
        alone = method(model, model.encode(IMAGES), **IDS)
        together = method(twice, twice.encode(IMAGES), **IDS)
        assert together.tokens.tolist() == alone.tokens.tolist()
        torch.testing.assert_close(together.scores, alone.scores, atol=1e-5, rtol=1e-5)


def test_probabilities_are_the_mean_of_different_architectures():
    members = [tiny_preset("attn_lstm"), tiny_preset("transformer"), tiny_preset("show_tell")]
    ensemble = Ensemble(members)
    token = torch.ones(3, 2, dtype=torch.long)
    mean, _ = ensemble.step(token, ensemble.init_state(ensemble.encode(IMAGES), 2))
    own = [m.step(token, m.init_state(m.encode(IMAGES), 2))[0].softmax(-1) for m in members]
    torch.testing.assert_close(mean.exp(), torch.stack(own).mean(0))
    assert ensemble.init_state(ensemble.encode(IMAGES), 2).weights is None


def test_an_empty_ensemble_is_refused():
    with pytest.raises(UserError, match="at least one"):
        Ensemble([])
    assert EnsembleMemory((tiny_preset("tiny").encode(IMAGES),)).pooled.shape[0] == 3
