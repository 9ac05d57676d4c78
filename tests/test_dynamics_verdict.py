from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from odevae.benchmark.dynamics import CANNOT_TELL, NO, SMALLEST_SHARE, YES, verdict
from odevae.benchmark.models.dynamics import Dynamics
from odevae.benchmark.table import benchmark_table
from odevae.data.simulate import simulate
from odevae.data.trials import cut
from odevae.plots.dynamics import verdicts_on_dynamics
from odevae.report.benchmark_findings import benchmark_findings

DRAWS = 400


def test_the_share_is_a_ratio_of_sums_and_its_interval_covers_the_truth():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(DRAWS):
        predictable = generator.gamma(4, 10, 30)
        found = verdict(0.3 * predictable + generator.normal(0, 12, 30), predictable, range(30))
        covered += found.low < 0.3 < found.high
    assert covered / DRAWS == pytest.approx(0.95, abs=0.03)
    exact = verdict(np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 4, 6, 8, 10]), range(5))
    assert (exact.share, exact.low, exact.high) == pytest.approx((0.5, 0.5, 0.5)) and exact.answer == YES


def test_answers():
    predictable = np.full(40, 100.0)
    noise = np.random.default_rng(1).normal(0, 1, 40)
    assert verdict(50 + noise, predictable, range(40)).answer == YES
    assert verdict(noise, predictable, range(40)).answer == NO
    assert verdict(-50 + noise, predictable, range(40)).answer == NO
    unclear = verdict(100 * SMALLEST_SHARE + 30 * noise, predictable, range(40))
    assert unclear.answer == CANNOT_TELL and "lies in the interval" in unclear.because
    few = verdict(50 + noise[:2], predictable[:2], range(2))
    assert few.answer == CANNOT_TELL and "2 independent test trials are too few" in few.because
    nothing = verdict(50 + noise, -predictable, range(40))
    assert nothing.answer == CANNOT_TELL and "say nothing" in nothing.because


@given(st.integers(2, 5), st.integers(0, 100))
def test_trials_of_one_group_are_no_independent_evidence(copies, seed):
    generator = np.random.default_rng(seed)
    gain, predictable = generator.normal(10, 5, 12), generator.gamma(4, 10, 12)
    once = verdict(gain, predictable, range(12))
    again = verdict(*(np.repeat(values, copies) for values in (gain, predictable)), np.repeat(range(12), copies))
    assert again[:5] == pytest.approx(once[:5])


def parts_of(kind: str, **settings):
    recording = simulate(kind, n_neurons=25, n_trials=100, frames_per_trial=50, seed=4, **settings)
    ids = np.random.default_rng(0).permutation(recording.trial_ids)
    return [cut(recording, recording.activity, part) for part in np.split(ids, [60, 75])]


@pytest.mark.slow
def test_a_chaotic_system_has_dynamics():
    train, validation, test = parts_of("arneodo")
    model = Dynamics(3, 0)
    model.fit(train, validation)
    gain, predictable = model.second_halves(test)
    found = verdict(gain, predictable, test.trial_ids)
    assert found.answer == YES and found.share > 0.2
    # What comes later does not enter the prediction of it.
    later = np.arange(test.values.shape[1]) >= test.recorded.sum(axis=1)[:, None] // 2
    other = replace(test, values=np.where(later[..., None], test.values + 1, test.values))
    before, after = (model.forecast_of(trials) for trials in (test, other))
    assert torch.equal(before.field, after.field)
    assert all(map(torch.equal, before.controls[:-1], after.controls[:-1]))


@pytest.mark.slow
def test_a_smooth_random_path_has_none():
    train, validation, test = parts_of("random_path")
    model = Dynamics(2, 0)
    model.fit(train, validation)
    assert verdict(*model.second_halves(test), test.trial_ids).answer == NO


def cell_of(split: int, gain: list[float], unit: list[int]) -> dict:
    predictable = [10.0] * len(gain)
    found = verdict(gain, predictable, unit)
    scores = {"dynamics": {"share": found.share, "low": found.low, "high": found.high, "n_values": found.n_units}}
    cell = {"dataset": "mine", "model": "dynamics", "latent_dim": 3, "split": split, "fit_s": 1.0, "kernel_frames": 0}
    cell |= {"n_trials": {"train": 40, "validation": 5, "test": len(gain)}, "scores": scores}
    return cell | {"second_halves": {"gain": gain, "predictable": predictable, "unit": unit}}


def test_the_table_judges_all_splits_together_and_the_findings_say_why():
    cells = [cell_of(0, [4.0, 5, 6, 5], [1, 2, 3, 4]), cell_of(1, [5.0, 6, 4, 5], [3, 4, 5, 6])]
    (row,) = benchmark_table(cells, {}).to_dict("records")
    pooled = verdict([4.0, 5, 11, 11, 4, 5], [10, 10, 20, 20, 10, 10], range(6))
    found = [row[name] for name in ("mean", "difference", "difference_low", "difference_high", "n_values")]
    assert found == pytest.approx([pooled.share, *pooled[1:5]]) and row["compared_with"] == "no field"
    (sentence,) = (line for line in benchmark_findings([row]) if line.startswith("Dynamics"))
    assert sentence.startswith("Dynamics in mine (D = 3): yes, because") and "50% [" in sentence
    figure = verdicts_on_dynamics([row], "title")
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["mine, D = 3 (n = 6)"]
