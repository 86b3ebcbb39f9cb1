import numpy as np
import pytest

from captionlab.metrics.agreement import alpha_interval, krippendorff_alpha

N = np.nan
# Krippendorff 2011, section C: four observers, twelve units
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
)


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_that_of_the_published_example(level, alpha):
    assert krippendorff_alpha(PUBLISHED, level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_of_two_judges_and_two_values_is_that_by_hand():
    # Krippendorff 2011, section A: ten units, two values; o_01 = 4, n_0 = 14, n_1 = 6
    meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert krippendorff_alpha(np.array([meg, owen])) == pytest.approx(1 - 19 * 4 / (14 * 6))


def pairwise_alpha(ratings: np.ndarray) -> float:
    """Alpha of nominal ratings from its definition, pair by pair of single ratings."""
    units = [[r for r in unit if r == r] for unit in ratings.T]
    units = [unit for unit in units if len(unit) > 1]
    everything = [rating for unit in units for rating in unit]
    n = len(everything)
    observed = sum(
        (a != b) / (len(unit) - 1) for unit in units for i, a in enumerate(unit)
        for j, b in enumerate(unit) if i != j
    )  # fmt: skip
    expected = sum(a != b for a in everything for b in everything) / (n - 1)
    return 1 - observed / expected


def test_alpha_is_its_definition_over_pairs_on_random_ratings():
    random = np.random.default_rng(1)
    for _ in range(20):
        ratings = random.integers(0, 4, size=(5, 9)).astype(float)
        ratings[random.random(ratings.shape) < 0.4] = np.nan
        assert krippendorff_alpha(ratings) == pytest.approx(pairwise_alpha(ratings))


def test_agreement_is_one_and_chance_is_about_zero():
    random = np.random.default_rng(2)
    one = random.integers(0, 3, size=(1, 500)).astype(float)
    assert krippendorff_alpha(one.repeat(3, 0), "ordinal") == pytest.approx(1)
    low, high = alpha_interval(random.integers(0, 3, size=(3, 500)).astype(float))
    assert low < 0 < high
    assert high - low < 0.2


@pytest.mark.parametrize("ratings", [[[N, N]], [[1, 2], [N, N]], [[1, 1], [1, 1]], [[], []]])
def test_without_two_ratings_or_two_values_there_is_no_alpha(ratings):
    assert np.isnan(krippendorff_alpha(np.array(ratings, dtype=float)))
    assert np.isnan(alpha_interval(np.array(ratings, dtype=float))).all()


def test_a_wrong_level_and_a_wrong_shape_are_named():
    with pytest.raises(ValueError, match="'ratio' is none of nominal"):
        krippendorff_alpha(PUBLISHED, "ratio")
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        krippendorff_alpha(np.array([1, 2, 3]))
