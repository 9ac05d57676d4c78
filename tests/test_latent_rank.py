import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from odevae.evaluation.latent_rank import SMALLEST_SHARE, latent_rank
from odevae.evaluation.run_scores import evaluate
from odevae.storage.scores import LATENT, headline, scores_of, select

B, L = 40, 25
EVERY_BIN = np.ones((B, L), bool)


def paths_with(scales) -> np.ndarray:
    """Paths whose principal axes have these SD, turned in some direction."""
    generator = np.random.default_rng(0)
    points, _ = np.linalg.qr(generator.standard_normal((B * L, len(scales))))
    points, _ = np.linalg.qr(points - points.mean(axis=0))
    turn, _ = np.linalg.qr(generator.standard_normal((len(scales), len(scales))))
    return (points * scales @ turn + 3.0).reshape(B, L, len(scales))


@pytest.mark.parametrize(("scales", "rank"), [([1, 1, 1], 3), ([5, 2, 0], 2), ([1, 0, 0, 0], 1), ([1, 0.02, 0.005], 2)])
def test_the_rank_of_paths_of_known_rank(scales, rank):
    assert latent_rank(paths_with(np.array(scales, float)), EVERY_BIN).latent_rank == rank


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=6))
def test_the_participation_ratio_follows_from_the_variances(scales):
    # At the limit itself rounding decides.
    assume(not np.isclose(scales, SMALLEST_SHARE * max(scales)).any())
    found = latent_rank(paths_with(np.array(scales)), EVERY_BIN)
    variances = np.square(scales)
    assert found.participation_ratio == pytest.approx(variances.sum() ** 2 / np.square(variances).sum(), rel=1e-6)
    assert 1 - 1e-9 <= found.participation_ratio <= len(scales) + 1e-9
    assert found.latent_rank == (np.array(scales) > SMALLEST_SHARE * max(scales)).sum()


def test_a_dimension_that_only_differs_where_no_bin_counts_is_lost():
    paths, mask = paths_with(np.array([1.0, 1.0])), EVERY_BIN.copy()
    mask[:, 10:] = False
    paths[:, :10, 1] = 0.5
    assert latent_rank(paths, mask).latent_rank == 1
    assert latent_rank(paths, EVERY_BIN).latent_rank == 2


def test_paths_that_do_not_move_and_paths_that_are_no_numbers():
    assert latent_rank(np.full((B, L, 3), 2.0), EVERY_BIN) == (0, 0)
    paths = paths_with(np.array([1.0, 1.0]))
    paths[3, 4] = np.nan
    assert all(map(math.isnan, latent_rank(paths, EVERY_BIN)))


def test_a_run_reports_the_rank_of_its_paths(trained, heldout_fold):
    metrics, predictions = evaluate(heldout_fold, trained)
    rows = select(scores_of(metrics), space=LATENT)
    assert {(row.part, row.checkpoint, row.estimate) for row in rows} == {
        (part, checkpoint, "mean") for part in ("validation", "test") for checkpoint in ("best", "last")
    }
    expected = latent_rank(predictions["test_best_path"], heldout_fold.raw.mask[heldout_fold.parts["test"]])
    audit = {"scored_trial_ids": [1], "shared_trials": 0, "padded_fraction": 0}
    found = headline(metrics, audit)
    assert (found["latent_rank"], found["participation_ratio"]) == expected
    assert found["latent_rank"] == 2


def test_a_diverged_run_has_no_rank(diverged, heldout_fold):
    metrics, _ = evaluate(heldout_fold, diverged)
    assert not select(scores_of(metrics), space=LATENT)
