import numpy as np
import pytest
from scipy import stats

from odevae.benchmark.comparison import paired_difference


def test_without_shared_trials_it_is_the_paired_t_interval():
    generator = np.random.default_rng(0)
    one, other = generator.standard_normal((2, 8))
    found = paired_difference(one, other, test_over_train=0.0)
    low, high = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found[:3] == pytest.approx(((one - other).mean(), low, high))


def test_shared_training_trials_make_it_wider():
    one, other = np.array([0.5, 0.6, 0.55, 0.7]), np.array([0.4, 0.55, 0.5, 0.5])
    plain, corrected = (paired_difference(one, other, share) for share in (0.0, 18 / 144))
    assert corrected.mean == plain.mean
    # Nadeau and Bengio: sqrt((1/n + share) / (1/n)).
    assert corrected.high - corrected.low == pytest.approx((plain.high - plain.low) * np.sqrt(1 + 4 * 18 / 144))


def test_one_split_has_no_interval():
    found = paired_difference([0.5], [0.25], 0.1)
    assert found.mean == 0.25 and np.isnan(found.low) and np.isnan(found.high)


def test_unpaired_scores_are_refused():
    with pytest.raises(ValueError, match="2 and 3 scores"):
        paired_difference([1, 2], [1, 2, 3], 0.1)
