import numpy as np
import pytest
import torch

from captionlab.metrics.bradley_terry import (
    connected_groups,
    fit_davidson,
    pairs_of,
    preferences,
    win_rates,
)


def fitted_by_descent(outcomes: np.ndarray, systems: int) -> tuple[np.ndarray, float]:
    """Davidson's likelihood as its paper writes it, maximized by torch's L-BFGS."""
    log_s = torch.zeros(systems, dtype=torch.float64, requires_grad=True)
    log_v = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [log_s, log_v], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    first, second = map(list, zip(*pairs_of(systems), strict=True))
    counts = torch.tensor(outcomes, dtype=torch.float64)

    def closure():
        optimizer.zero_grad()
        a, b = log_s[first].exp(), log_s[second].exp()
        odds = torch.stack([a, b, log_v.exp() * (a * b).sqrt()], 1)
        loss = -(counts * (odds / odds.sum(1, keepdim=True)).log()).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return (log_s - log_s.mean()).detach().numpy(), float(log_v.detach())


def test_systems_that_nobody_compared_are_in_groups_of_their_own():
    outcomes = np.zeros((len(pairs_of(4)), 3))
    assert connected_groups(outcomes, 4) == [[0], [1], [2], [3]]
    for a, b in ((0, 2), (1, 3)):
        outcomes[pairs_of(4).index((a, b)), 2] = 1
    assert connected_groups(outcomes, 4) == [[0, 2], [1, 3]]
    outcomes[pairs_of(4).index((2, 3)), 0] = 1
    assert connected_groups(outcomes, 4) == [[0, 1, 2, 3]]


def test_the_fit_is_that_of_an_independent_optimizer():
    random = np.random.default_rng(0)
    for systems in (2, 4):
        outcomes = random.integers(1, 40, size=(len(pairs_of(systems)), 3))
        strengths, log_tie = fitted_by_descent(outcomes, systems)
        fitted = fit_davidson(outcomes, systems)
        np.testing.assert_allclose(fitted.log_strengths, strengths, atol=1e-5)
        assert float(fitted.log_tie) == pytest.approx(log_tie, abs=1e-5)


def test_two_systems_without_ties_have_the_logit_of_the_win_rate():
    fitted = fit_davidson(np.array([[30, 10, 0]]), 2)
    assert np.diff(fitted.log_strengths)[0] == pytest.approx(-np.log(3))
    assert float(fitted.log_tie) == -np.inf


def test_ties_of_two_systems_give_davidsons_closed_form():
    # P(equal)^2 = v^2 P(a) P(b)
    fitted = fit_davidson(np.array([[20, 5, 10]]), 2)
    assert np.exp(np.diff(fitted.log_strengths)[0]) == pytest.approx(5 / 20)
    assert np.exp(float(fitted.log_tie)) == pytest.approx(10 / np.sqrt(20 * 5))


def test_many_tables_are_fitted_as_each_alone():
    outcomes = np.random.default_rng(3).integers(1, 9, size=(4, 3, 3))
    together = fit_davidson(outcomes, 3).log_strengths
    for table, strengths in zip(outcomes, together, strict=True):
        np.testing.assert_allclose(fit_davidson(table, 3).log_strengths, strengths, atol=1e-8)


def test_true_strengths_lie_in_their_intervals():
    random = np.random.default_rng(5)
    truth = np.array([0.8, 0.0, -0.8])
    outcomes = np.zeros((400, 3, 3))
    for image in outcomes:
        for number, (a, b) in enumerate(pairs_of(3)):
            weights = np.exp([truth[a], truth[b], -0.5 + (truth[a] + truth[b]) / 2])
            image[number] = random.multinomial(1, weights / weights.sum())
    found = preferences(outcomes, 3)
    low, high = found.strength_intervals.T
    assert (low < truth).all()
    assert (truth < high).all()
    assert (high - low < 0.6).all()
    assert (found.win_rates[:-1] > found.win_rates[1:]).all()


def test_who_always_wins_is_finite_with_a_pseudo_count_and_named_without():
    outcomes = np.array([[12, 0, 0]])
    found = preferences(np.tile(outcomes, (6, 1, 1)), 2)
    assert np.isfinite(found.log_strengths).all()
    assert found.log_strengths[0] > 1
    assert found.win_rates.tolist() == [1, 0]
    with pytest.raises(ValueError, match="won, or lost, all"):
        fit_davidson(outcomes, 2)


def test_a_tie_counts_half_and_what_was_not_compared_has_no_rate():
    outcomes = np.array([[3, 1, 2], [0, 0, 0], [0, 0, 0]])
    rates = win_rates(outcomes, 3)
    assert rates[:2] == pytest.approx([4 / 6, 2 / 6])
    assert np.isnan(rates[2])


@pytest.mark.filterwarnings("error")
def test_systems_that_were_never_compared_have_no_interval_and_the_others_do():
    outcomes = np.zeros((9, 3, 3))
    outcomes[:, 0] = [2, 1, 1]  # the first two alone
    found = preferences(outcomes, 3)
    assert np.isnan(found.pair_rate_intervals[1:]).all()
    assert np.isfinite(found.win_rate_intervals[:2]).all()
    assert np.isfinite(found.strength_intervals).all()


def test_a_wrong_shape_is_named():
    with pytest.raises(
        ValueError, match=r"3 systems have the shape \(\.\.\., 3, 3\), not \(2, 3\)"
    ):
        fit_davidson(np.zeros((2, 3)), 3)
    with pytest.raises(ValueError, match="no judgment"):
        preferences(np.zeros((0, 1, 3)), 2)
