"""Splits, the two protocols, folds on disk and the audit."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from conftest import HELDOUT_SMALL, PUBLISHED_DEFAULTS, PUBLISHED_SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

from odevae import pieces
from odevae.data.recording import Recording
from odevae.errors import OdevaeError
from odevae.protocols.audit import audit
from odevae.protocols.fold import load_fold, save_fold, with_events
from odevae.protocols.kernel import kernel_width
from odevae.protocols.preprocessing import fit_preprocessor
from odevae.protocols.recipes import heldout, published
from odevae.protocols.splits import last_sequences, random_trials
from odevae.storage.run_folder import PREPROCESSING_FILE, TRIALS_FILE

OBSERVATIONS = ["pca", "pca-baseline", "neurons", "neurons-baseline"]


# Splits


@pytest.mark.parametrize(
    ("n_sequences", "holdout", "expected"), [(100, 20, 20), (100, 3, 3), (12, 20, 2), (4, 20, 1), (50, 20, 10)]
)
def test_the_last_sequences_are_held_out(n_sequences, holdout, expected):
    parts = last_sequences(n_sequences, holdout)
    assert parts["validation"].tolist() == list(range(n_sequences - expected, n_sequences))
    assert parts["train"].tolist() == list(range(n_sequences - expected))


@settings(max_examples=60, deadline=None)
@given(
    n_trials=st.integers(3, 200),
    test_fraction=st.floats(0.01, 0.45),
    validation_fraction=st.floats(0.01, 0.45),
    seed=st.integers(0, 2**32 - 1),
    split=st.integers(0, 50),
)
def test_random_parts_are_disjoint_and_cover_all_trials(n_trials, test_fraction, validation_fraction, seed, split):
    n_test, n_validation = max(1, round(test_fraction * n_trials)), max(1, round(validation_fraction * n_trials))
    if n_trials - n_test - n_validation < 1:
        with pytest.raises(OdevaeError, match="cannot be split"):
            random_trials(n_trials, test_fraction, validation_fraction, seed, split)
        return
    parts = random_trials(n_trials, test_fraction, validation_fraction, seed, split)
    assert sorted(parts) == ["test", "train", "validation"]
    assert (len(parts["test"]), len(parts["validation"])) == (n_test, n_validation)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(n_trials))
    assert all((np.diff(rows) > 0).all() for rows in parts.values())
    np.testing.assert_equal(random_trials(n_trials, test_fraction, validation_fraction, seed, split), parts)


def test_other_splits_and_seeds_hold_other_trials_out():
    held_out = {tuple(random_trials(180, 0.1, 0.1, seed, split)["test"]) for seed in (0, 1) for split in range(10)}
    assert len(held_out) == 20
    # Every trial is held out about as often as any other.
    counts = np.bincount(np.concatenate([random_trials(20, 0.1, 0.1, 0, split)["test"] for split in range(500)]))
    assert counts.min() > 25
    assert counts.max() < 80


def test_too_few_trials_are_refused():
    with pytest.raises(OdevaeError, match="2 trials cannot be split into 1 for test, 1 for validation"):
        random_trials(2, 0.1, 0.1, 0, 0)


# The published protocol


def test_published_steps(small):
    fold = published(small, "pca", split=1, settings=PUBLISHED_SMALL)
    # Trial ids 0 to 11: the first ten are dropped.
    assert fold.raw.trial_ids.tolist() == [10, 11]
    everything = fit_preprocessor(small.activity, "pca", floored=False)
    np.testing.assert_equal(vars(fold.preprocessor), vars(everything))
    assert fold.scored_part == "validation"
    assert (len(fold.parts["train"]), len(fold.parts["validation"])) == (10, 2)
    assert fold.observed.shape == (2, 15, everything.n_channels)
    assert fold.observed.dtype == np.float32
    np.testing.assert_allclose(fold.times, np.linspace(0, 1, 15), atol=1e-6)
    assert fold.times.dtype == np.float32
    onset = everything.transform(small.activity[small.frames_of(10)[0]])
    np.testing.assert_allclose(fold.observed[0, 0], onset, atol=1e-5)


def test_published_skips_trials_of_fewer_than_ten_frames(make_recording):
    recording = make_recording([12, 9, 10, 11], n_neurons=5)
    fold = published(recording, "neurons", split=0, settings=PUBLISHED_SMALL)
    assert fold.raw.trial_ids.tolist() == [1, 3, 4]


def test_published_baseline_is_subtracted_after_the_landmarks_are_chosen(small):
    settings = PUBLISHED_SMALL | {"drop_first_trials": 0}
    plain = published(small, "pca", split=1, settings=settings)
    corrected = published(small, "pca-baseline", split=1, settings=settings)
    np.testing.assert_equal(plain.parts, corrected.parts)
    expected = plain.observed - plain.observed[:, :5].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(corrected.observed, expected, atol=1e-5)
    assert not plain.baseline.any()


def test_published_split_draws_the_landmarks(small):
    settings = PUBLISHED_SMALL | {"drop_first_trials": 0}
    draws = [published(small, "pca", split, settings).parts["train"].tolist() for split in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


# The heldout protocol


@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_heldout_observations_are_the_transform_of_each_frame(small, observations):
    fold = heldout(small, observations, split=0, settings=HELDOUT_SMALL)
    assert fold.raw.trial_ids.tolist() == list(range(12))
    assert fold.raw.mask.sum(axis=1).tolist() == [20 - 2 * (i % 5) for i in range(12)]
    np.testing.assert_array_equal(fold.raw.mask, fold.raw.recorded)
    training = np.concatenate([small.activity[small.frames_of(i)] for i in fold.raw.trial_ids[fold.parts["train"]]])
    preprocessor = fit_preprocessor(training.astype(np.float32), observations.split("-")[0], floored=True)
    for row, trial_id in enumerate(fold.raw.trial_ids):
        frames = small.frames_of(trial_id)
        expected = preprocessor.transform(small.activity[frames])
        if observations.endswith("baseline"):
            expected = expected - expected[:5].mean(axis=0)
        np.testing.assert_allclose(fold.observed[row, : len(frames)], expected, atol=1e-4)
    assert not fold.observed[~fold.raw.mask].any()


def test_heldout_grid_is_the_native_frames_and_one_is_the_longest_training_trial(small, heldout_fold):
    np.testing.assert_allclose(heldout_fold.grid_s, 0.1 * np.arange(20), atol=1e-12)
    longest = heldout_fold.raw.mask[heldout_fold.parts["train"]].sum(axis=1).max()
    assert heldout_fold.time_scale_s == pytest.approx(0.1 * (longest - 1))
    assert heldout_fold.times[longest - 1] == 1
    assert heldout_fold.scored_part == "test"


def test_observations_go_back_to_recorded_units(small):
    fold = heldout(small, "neurons-baseline", split=0, settings=HELDOUT_SMALL)
    rows = fold.parts["test"]
    mask = fold.raw.mask[rows]
    np.testing.assert_allclose(fold.to_raw(fold.observed[rows], rows)[mask], fold.raw.values[rows][mask], atol=1e-5)
    fold = heldout(small, "pca-baseline", split=0, settings=HELDOUT_SMALL)
    preprocessor = fold.preprocessor
    centred = fold.raw.values[rows][mask] - preprocessor.neuron_mean
    projected = centred @ preprocessor.components.T @ preprocessor.components + preprocessor.neuron_mean
    np.testing.assert_allclose(fold.to_raw(fold.observed[rows], rows)[mask], projected, atol=1e-4)


def what_training_sees(fold) -> dict[str, np.ndarray]:
    rows = fold.parts["train"]
    return {
        **vars(fold.preprocessor),
        "observed": fold.observed[rows],
        "baseline": fold.baseline[rows],
        "rows": rows,
        "times": fold.times,
    }


def poisoned(recording: Recording, trial_ids: np.ndarray) -> Recording:
    activity = recording.activity.copy()
    frames = np.isin(recording.trial, trial_ids)
    generator = np.random.default_rng(0)
    activity[frames] = 1e4 * generator.standard_normal((int(frames.sum()), recording.n_neurons))
    return replace(recording, activity=activity)


@pytest.mark.parametrize("observations", OBSERVATIONS)
@pytest.mark.parametrize("part", ["test", "validation"])
def test_poison_in_held_out_trials_reaches_nothing_that_training_sees(small, observations, part):
    clean = heldout(small, observations, split=0, settings=HELDOUT_SMALL)
    held_out = clean.raw.trial_ids[clean.parts[part]]
    dirty = heldout(poisoned(small, held_out), observations, split=0, settings=HELDOUT_SMALL)
    np.testing.assert_equal(what_training_sees(dirty), what_training_sees(clean))
    assert not np.array_equal(dirty.observed[clean.parts[part]], clean.observed[clean.parts[part]])


def test_the_poison_works(small):
    """The same poison in one training trial, or under the published protocol, does reach the fits."""
    clean = heldout(small, "pca", split=0, settings=HELDOUT_SMALL)
    training = clean.raw.trial_ids[clean.parts["train"][:1]]
    dirty = heldout(poisoned(small, training), "pca", split=0, settings=HELDOUT_SMALL)
    assert not np.array_equal(dirty.preprocessor.neuron_mean, clean.preprocessor.neuron_mean)
    settings = PUBLISHED_SMALL | {"drop_first_trials": 0}
    before = published(small, "pca", 1, settings)
    after = published(poisoned(small, before.raw.trial_ids[:1]), "pca", 1, settings)
    assert not np.array_equal(after.preprocessor.neuron_mean, before.preprocessor.neuron_mean)


def test_a_longer_test_trial_leaves_the_time_constant_alone(make_recording):
    parts = random_trials(10, 0.2, 0.2, 0, 0)
    lengths = np.full(10, 12)
    lengths[parts["train"]] = 15
    fold = heldout(make_recording(lengths), "neurons", split=0, settings=HELDOUT_SMALL)
    lengths[parts["test"]] = 30
    longer = heldout(make_recording(lengths), "neurons", split=0, settings=HELDOUT_SMALL)
    assert longer.time_scale_s == pytest.approx(fold.time_scale_s) == pytest.approx(1.4)
    assert longer.times[-1] == pytest.approx(2.9 / 1.4)


def test_an_unsteady_frame_rate_is_refused(make_recording):
    recording = make_recording([12] * 6)
    time = recording.time.copy()
    time[recording.frames_of(3)[5] :] += 0.1
    with pytest.raises(
        OdevaeError, match=r"1 of 6 trials .* interval of 0\.1 s \(1 of 66 steps; trial 3; .* lacks 1 frames"
    ):
        heldout(replace(recording, time=time), "pca", split=0, settings=HELDOUT_SMALL)
    # A small jitter is no reason to refuse.
    jitter = 0.02 * np.random.default_rng(0).uniform(size=len(time))
    heldout(replace(recording, time=recording.time + jitter), "pca", split=0, settings=HELDOUT_SMALL)


# Folds on disk


@pytest.mark.parametrize("fold_name", ["heldout_fold", "published_fold"])
def test_a_fold_survives_the_disk(request, tmp_path, fold_name):
    fold = request.getfixturevalue(fold_name)
    save_fold(fold, tmp_path)
    again = load_fold(tmp_path)
    np.testing.assert_equal(vars(again.raw), vars(fold.raw))
    assert list(again.raw.covariates) == list(fold.raw.covariates)
    np.testing.assert_equal(again.parts, fold.parts)
    np.testing.assert_equal(vars(again.preprocessor), vars(fold.preprocessor))
    for name in ("observed", "baseline", "grid_s", "times"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fold, name))
        assert getattr(again, name).dtype == getattr(fold, name).dtype
    assert again.time_scale_s == fold.time_scale_s
    assert again.about["fitted_before_split"] == fold.about["fitted_before_split"]
    assert again.about["n_sequences"] == {part: len(rows) for part, rows in fold.parts.items()}


def test_a_fold_without_covariates_and_latents_survives_the_disk(tmp_path, small):
    fold = heldout(replace(small, covariates={}, latents=None), "pca", 0, HELDOUT_SMALL)
    save_fold(fold, tmp_path)
    again = load_fold(tmp_path)
    assert again.raw.covariates == {}
    assert again.raw.latents is None


def test_a_damaged_fold_is_named(tmp_path, heldout_fold):
    with pytest.raises(OdevaeError, match=PREPROCESSING_FILE):
        load_fold(tmp_path)
    save_fold(heldout_fold, tmp_path)
    whole = (tmp_path / TRIALS_FILE).read_bytes()
    (tmp_path / TRIALS_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OdevaeError, match=f"{TRIALS_FILE}: cannot be read"):
        load_fold(tmp_path)


# Audit


def test_audit_counts_by_hand(small, published_fold):
    found = audit(published_fold, small)
    train, scored = published_fold.parts["train"], published_fold.parts["validation"]
    assert found["scored_part"] == "validation"
    assert (found["scored_sequences"], found["training_sequences"]) == (len(scored), len(train)) == (2, 10)
    assert found["usable_trials"] == 12
    assert found["distinct_trials"] == len({*train, *scored})
    shared = [row for row in scored if row in train]
    assert found["shared_trials"] == len(shared) / len(scored)
    assert found["shared_trial_ids"] == sorted({int(published_fold.raw.trial_ids[row]) for row in shared})
    assert found["scored_trial_ids"] == [int(published_fold.raw.trial_ids[row]) for row in scored]

    grid = np.linspace(0, 2.0, 15)
    padded = np.array([grid > small.time[small.frames_of(i)][-1] + 1e-6 for i in published_fold.raw.trial_ids])
    assert found["padded_fraction_all_trials"] == pytest.approx(padded.mean())
    assert found["padded_fraction"] == pytest.approx(padded[scored].mean())
    values = published_fold.observed[scored].astype(float)
    squares = (values - values.mean()) ** 2
    assert found["padded_variation_fraction"] == pytest.approx(squares[padded[scored]].sum() / squares.sum(), rel=1e-5)
    # Every trial is shorter than the grid.
    assert found["frames_used_fraction"] == 1
    assert found["fitted_before_split"] == ["pca", "scaling"]
    assert found["frames_seen_at_onset"] == 1


@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_folds_and_audits_of_pieces_are_those_of_the_whole(small, observations, monkeypatch):
    recipes = [
        partial(heldout, small, observations, split=0, settings=HELDOUT_SMALL),
        partial(published, small, observations, split=1, settings=PUBLISHED_SMALL | {"drop_first_trials": 0}),
    ]
    whole = [recipe() for recipe in recipes]
    audits = [audit(fold, small) for fold in whole]
    monkeypatch.setattr(pieces, "PIECE_VALUES", 50)
    for recipe, expected, counts in zip(recipes, whole, audits, strict=True):
        found = recipe()
        np.testing.assert_equal(found.parts, expected.parts)
        np.testing.assert_allclose(found.observed, expected.observed, atol=1e-6)
        for name, value in audit(found, small).items():
            assert value == (pytest.approx(counts[name]) if isinstance(value, float) else counts[name])


def test_audit_of_held_out_trials_finds_nothing(small, heldout_fold):
    found = audit(heldout_fold, small)
    assert found["scored_part"] == "test"
    assert found["shared_trials"] == 0
    assert found["shared_trial_ids"] == []
    assert found["padded_fraction"] == found["padded_variation_fraction"] == 0
    assert found["fitted_before_split"] == []
    assert found["frames_used_fraction"] == 1
    assert found["distinct_trials"] == found["usable_trials"] == 12


def test_audit_sees_silent_neurons(small):
    fold = heldout(small, "pca-baseline", split=0, settings=HELDOUT_SMALL)
    training = np.isin(small.trial, fold.raw.trial_ids[fold.parts["train"]])
    activity = small.activity.copy()
    activity[:, 2] = 0.5
    activity[training, 5] = 0
    recording = replace(small, activity=activity)
    found = audit(heldout(recording, "pca-baseline", split=0, settings=HELDOUT_SMALL), recording)
    assert found["silent_neurons"] == 1
    assert found["silent_in_training"] == 1
    assert found["frames_seen_at_onset"] == 5


def test_audit_describes_the_activity(small):
    activity = np.where(small.activity > np.quantile(small.activity, 0.8), small.activity, 0)
    recording = replace(small, activity=activity)
    fold = heldout(recording, "pca", split=0, settings=HELDOUT_SMALL)
    found = audit(fold, recording)
    assert (found["events"], found["zero_fraction"]) == ("sparse", pytest.approx(0.8, abs=0.01))
    assert found["kernel_frames"] == kernel_width(fold.raw)
    assert audit(with_events(fold, activity, "dense"), recording)["events"] == "dense"


def test_events_that_the_activity_cannot_have_are_refused(small, heldout_fold):
    assert with_events(heldout_fold, np.array([[0.0, 2.0]]), None).events == "spikes"
    assert with_events(heldout_fold, np.array([[0.0, 2.0]]), "sparse").events == "sparse"
    for activity, declared, sentence in (([[0.5]], "spikes", "no whole numbers"), ([[-1.0]], "sparse", "below zero")):
        with pytest.raises(OdevaeError, match=rf"events: {declared} does not fit .* {sentence}"):
            with_events(heldout_fold, np.array(activity), declared)


# The paper's files


@pytest.fixture(scope="module")
def e65_published(e65):
    return published(e65, "pca", split=1, settings=PUBLISHED_DEFAULTS | {"holdout": 3})


def test_e65_published_is_scored_on_padding_and_on_training_trials(e65, e65_published):
    found = audit(e65_published, e65)
    assert found["usable_trials"] == 180
    assert e65_published.preprocessor.n_channels == 129
    assert found["distinct_trials"] == 67
    assert found["scored_trial_ids"] == [152, 20, 157]
    assert found["shared_trials"] == pytest.approx(2 / 3)
    assert found["padded_fraction"] == pytest.approx(0.772, abs=0.0005)
    assert found["padded_fraction_all_trials"] == pytest.approx(0.774, abs=0.0005)
    assert found["fitted_before_split"] == ["pca", "scaling"]


def test_e65_published_baseline_corrected_variation_lies_in_the_padding(e65):
    fold = published(e65, "pca-baseline", split=1, settings=PUBLISHED_DEFAULTS | {"holdout": 3})
    values, padded = fold.observed.astype(float), ~fold.raw.recorded
    squares = (values - values.mean()) ** 2
    assert squares[padded].sum() / squares.sum() == pytest.approx(0.85, abs=0.005)


def test_e65_published_in_neuron_space_shares_one_of_three(e65):
    found = audit(published(e65, "neurons", split=1, settings=PUBLISHED_DEFAULTS | {"holdout": 3}), e65)
    assert found["shared_trials"] == pytest.approx(1 / 3)
    assert found["fitted_before_split"] == ["scaling"]


def test_e65_heldout_shares_and_pads_nothing(e65):
    settings = {"drop_first_trials": 10, "test_fraction": 0.1, "validation_fraction": 0.1, "seed": 0}
    fold = heldout(e65, "pca", split=0, settings=settings)
    found = audit(fold, e65)
    assert {part: len(rows) for part, rows in fold.parts.items()} == {"train": 144, "validation": 18, "test": 18}
    assert found["shared_trials"] == 0
    assert found["padded_fraction"] == 0
    assert found["frames_used_fraction"] == 1
    held_out = fold.raw.trial_ids[np.concatenate([fold.parts["test"], fold.parts["validation"]])]
    dirty = heldout(poisoned(e65, held_out), "pca", split=0, settings=settings)
    np.testing.assert_equal(what_training_sees(dirty), what_training_sees(fold))


@pytest.mark.parametrize("seed", [1, 42, 1337, 2025, 777])
def test_table_1_is_scored_on_training_trials(synthetic_file, seed):
    fold = published(synthetic_file, "pca", split=seed, settings=PUBLISHED_DEFAULTS)
    found = audit(fold, synthetic_file)
    assert found["shared_trials"] == 1
    assert found["frames_used_fraction"] == pytest.approx(0.065)
    assert fold.preprocessor.n_channels == 12
    assert found["usable_trials"] == 10
    assert (found["training_sequences"], found["scored_sequences"]) == (80, 20)
