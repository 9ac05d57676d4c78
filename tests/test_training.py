import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ABOUT

from odevae.models.odevae import build
from odevae.models.solvers import SOLVERS, TOLERANCE
from odevae.storage.files import read_json
from odevae.storage.run_folder import CHECKPOINT_FILE, HISTORY_FILE, RUN_FILE, read_history
from odevae.training.loop import batches, fit
from odevae.training.recorder import train
from odevae.training.reproducibility import seed_everything

TERMS = ("reconstruction", "kl", "smoothness", "transition", "lle")


def states(folder) -> dict:
    return torch.load(folder / CHECKPOINT_FILE, weights_only=True)


def history(folder) -> list[dict]:
    """Without the column that differs from run to run."""
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in read_history(folder / HISTORY_FILE)
    ]


def same_state(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def run(tmp_path, heldout_fold, tiny, make_key):
    """Train the tiny model, with changes, into a folder of its own."""

    def train_it(name, fold=heldout_fold, key=None, on_epoch=lambda: None, **changes):
        folder = tmp_path / name
        folder.mkdir()
        train(fold, key or make_key(), replace(tiny, **changes), folder, ABOUT, on_epoch)
        return folder

    return train_it


# Batches


def test_heldout_batches_keep_every_trial_and_end_with_their_longest(heldout_fold):
    torch.manual_seed(0)
    seen = list(batches(heldout_fold, "train", batch_size=3, shuffle=True))
    assert [len(observed) for observed, _, _ in seen] == [3, 3, 2]
    for observed, mask, times in seen:
        longest = int(mask.sum(dim=1).max())
        assert observed.shape[1] == mask.shape[1] == len(times) == longest
        torch.testing.assert_close(times, torch.from_numpy(heldout_fold.times[:longest]))
    firsts = torch.cat([observed[:, 0] for observed, _, _ in seen]).numpy()
    expected = heldout_fold.observed[heldout_fold.parts["train"], 0]
    np.testing.assert_array_equal(firsts[np.lexsort(firsts.T)], expected[np.lexsort(expected.T)])
    assert not np.array_equal(firsts, expected)


def test_validation_batches_are_in_order_and_whole(published_fold, heldout_fold):
    for fold in (published_fold, heldout_fold):
        rows = fold.parts["validation"]
        seen = list(batches(fold, "validation", batch_size=3, shuffle=False))
        assert sum(len(observed) for observed, _, _ in seen) == len(rows)
        torch.testing.assert_close(seen[0][0][:, 0], torch.from_numpy(fold.observed[rows[:3], 0]))


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4]), (5, [5, 5]), (3, [3, 3, 3]), (64, [10])])
def test_published_training_drops_an_incomplete_last_batch(published_fold, batch_size, sizes):
    assert len(published_fold.parts["train"]) == 10
    seen = list(batches(published_fold, "train", batch_size, shuffle=True))
    assert [len(observed) for observed, _, _ in seen] == sizes


# What a run leaves on disk


def test_run_json(trained, heldout_fold, tiny, make_key):
    run = read_json(trained / RUN_FILE)
    rows = read_history(trained / HISTORY_FILE)
    assert run["status"] == "ok"
    assert run["reason"] == ""
    assert run["key"] == make_key().as_dict()
    assert run["run"] == "small/heldout/split0/tiny/d2_ls5e-4_seed7"
    assert run["spec"] == tiny.as_dict()
    assert run["observations"] == "pca"
    model = build(tiny, heldout_fold.preprocessor.n_channels, 2)
    assert run["n_parameters"] == sum(p.numel() for p in model.parameters())
    assert run["epochs"] == len(rows) == 3
    assert ABOUT.items() <= run.items()
    scores = [row["val_r2"] for row in rows]
    assert run["best_r2"] == max(scores)
    assert run["best_epoch"] == 1 + int(np.argmax(scores))
    assert run["final_r2"] == scores[-1]
    assert run["best_val_loss"] == min(row["val_loss"] for row in rows)
    assert run["started_at"] <= run["finished_at"]
    assert run["duration_s"] > 0


def test_history_holds_each_term_as_it_stands_and_as_it_counts(trained, tiny):
    rows = read_history(trained / HISTORY_FILE)
    names = [f"{part}_{kind}{term}" for part in ("train", "val") for kind in ("", "weighted_") for term in TERMS]
    weights = [f"weight_{term}" for term in TERMS]
    solver = {"solver_steps", "solver_error"}
    others = {"epoch", "seconds", "train_loss", "val_loss", "val_r2", "learning_rate", "skipped_steps"}
    assert set(rows[0]) == {*others, *solver, *names, *weights}
    full = {"reconstruction": 1, "kl": 0.02, "smoothness": 5e-4, "transition": 0.01, "lle": 0.01}
    for epoch, row in enumerate(rows, start=1):
        share = {"kl": epoch / 4, "transition": min(1, epoch / 2)}
        assert row["epoch"] == epoch
        for term in TERMS:
            assert row[f"weight_{term}"] == pytest.approx(full[term] * share.get(term, 1))
            assert row[f"train_weighted_{term}"] == pytest.approx(row[f"train_{term}"] * row[f"weight_{term}"])
            # Validation is scored with the full weights from the first epoch on.
            assert row[f"val_weighted_{term}"] == pytest.approx(row[f"val_{term}"] * full[term])
            assert row[f"train_{term}"] > 0
        for part in ("train", "val"):
            total = sum(row[f"{part}_weighted_{term}"] for term in TERMS)
            assert row[f"{part}_loss"] == pytest.approx(total, rel=1e-5)


def test_history_holds_the_steps_and_the_error_of_the_adaptive_solver(trained, run):
    for row in read_history(trained / HISTORY_FILE):
        assert 2 <= row["solver_steps"] <= 64
        assert 0 < row["solver_error"] < 100 * TOLERANCE
    paper = run("paper", solver="dopri5", epochs=1)
    assert not [column for column in read_history(paper / HISTORY_FILE)[0] if column.startswith("solver")]


def test_the_first_step_against_a_pass_by_hand(run, heldout_fold, tiny):
    folder = run("one", epochs=1, batch_size=64)
    seed_everything(7)
    model = build(tiny, heldout_fold.preprocessor.n_channels, 2)
    rows = heldout_fold.parts["train"][torch.randperm(len(heldout_fold.parts["train"])).numpy()]
    longest = heldout_fold.raw.mask[rows].sum(axis=1).max()
    observed = torch.from_numpy(heldout_fold.observed[rows, :longest])
    with torch.no_grad():
        mask = torch.from_numpy(heldout_fold.raw.mask[rows, :longest])
        output = model(observed, mask, torch.from_numpy(heldout_fold.times[:longest]), sample=True)
    mean, log_variance = output.posterior_mean, output.posterior_log_variance
    lengths = heldout_fold.raw.mask[rows].sum(axis=1)
    errors = [(output.reconstruction[i, :n] - observed[i, :n]).square().ravel() for i, n in enumerate(lengths)]
    row = read_history(folder / HISTORY_FILE)[0]
    assert row["train_reconstruction"] == pytest.approx(torch.cat(errors).mean().item(), rel=1e-5)
    expected = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
    assert row["train_kl"] == pytest.approx(expected.item(), rel=1e-4)


def test_training_learns(run):
    rows = history(run("longer", epochs=30, batch_size=8))
    assert rows[-1]["train_reconstruction"] < 0.6 * rows[0]["train_reconstruction"]


def test_checkpoint_holds_the_best_epoch_and_the_last(run):
    long = run("long", epochs=6)
    best_epoch = read_json(long / RUN_FILE)["best_epoch"]
    short = run("short", epochs=best_epoch)
    assert set(states(long)) == {"best", "last"}
    assert same_state(states(long)["best"], states(short)["last"])
    if best_epoch < 6:
        assert not same_state(states(long)["best"], states(long)["last"])
    assert history(long)[:best_epoch] == history(short)


def test_each_epoch_is_on_disk_before_it_is_announced(run, tmp_path):
    seen = []

    def look():
        folder = tmp_path / "watched"
        seen.append((len(read_history(folder / HISTORY_FILE)), read_json(folder / RUN_FILE)["status"]))

    run("watched", on_epoch=look)
    assert seen == [(1, "running"), (2, "running"), (3, "running")]


def test_an_old_history_is_replaced(heldout_fold, tiny, make_key, tmp_path):
    for epochs in (3, 2):
        train(heldout_fold, make_key(), replace(tiny, epochs=epochs), tmp_path, ABOUT)
    assert [row["epoch"] for row in read_history(tmp_path / HISTORY_FILE)] == [1, 2]


def test_two_runs_of_one_key_are_two_attempts(trained, run):
    assert read_json(trained / RUN_FILE)["attempt"] != read_json(run("again") / RUN_FILE)["attempt"]


# Reproducibility


def test_the_same_seed_gives_the_same_bits(trained, run):
    torch.manual_seed(123)
    again = run("again")
    assert history(again) == history(trained)
    for checkpoint in ("best", "last"):
        assert same_state(states(again)[checkpoint], states(trained)[checkpoint])


def test_another_seed_gives_another_run(trained, run, make_key):
    other = run("other", key=make_key(seed=9))
    assert history(other) != history(trained)
    assert not same_state(states(other)["last"], states(trained)["last"])


def test_the_adaptive_solver_gives_the_same_bits_too(run):
    one, other = (run(name, solver="dopri5", field="moe", decoder="moe", epochs=2) for name in ("one", "other"))
    assert history(one) == history(other)
    assert same_state(states(one)["last"], states(other)["last"])


def test_the_loop_goes_on_from_the_end_of_any_epoch_with_the_same_bits(trained, heldout_fold, tiny):
    def epochs(start=None):
        seed_everything(7)
        model = build(tiny, heldout_fold.preprocessor.n_channels, 2)
        return fit(model, heldout_fold, tiny, 5e-4, start=start)

    whole = list(epochs())
    assert [epoch.state.epoch for epoch in whole] == [1, 2, 3]
    assert [{**epoch.row, "seconds": None} for epoch in whole] == [{**row, "seconds": None} for row in history(trained)]
    assert same_state(whole[-1].state.model, states(trained)["last"])
    for epoch in whole:
        rest = list(epochs(start=epoch.state))
        assert len(rest) == 3 - epoch.state.epoch
        for again, expected in zip(rest, whole[epoch.state.epoch :], strict=True):
            assert same_state(again.state.model, expected.state.model)
            assert same_state(again.state.best.weights, expected.state.best.weights)
            assert {**again.row, "seconds": None} == {**expected.row, "seconds": None}


# Masks


def test_the_content_of_padding_never_reaches_a_heldout_run(trained, run, heldout_fold):
    observed = heldout_fold.observed.copy()
    padding = ~heldout_fold.raw.mask
    observed[padding] = 100 * np.random.default_rng(0).standard_normal((padding.sum(), observed.shape[2]))
    filled = run("filled", fold=replace(heldout_fold, observed=observed))
    assert history(filled) == history(trained)
    assert same_state(states(filled)["last"], states(trained)["last"])


def test_padding_does_count_as_published(run, published_fold):
    observed = published_fold.observed.copy()
    observed[~published_fold.raw.recorded] += 1
    plain = run("plain", fold=published_fold, epochs=1)
    padded = run("padded", fold=replace(published_fold, observed=observed), epochs=1)
    assert history(padded) != history(plain)


def test_test_trials_never_reach_a_run(trained, run, heldout_fold):
    observed = heldout_fold.observed.copy()
    observed[heldout_fold.parts["test"]] = 1e4
    assert history(run("poisoned", fold=replace(heldout_fold, observed=observed))) == history(trained)


# Collapse


def test_a_diverged_run_is_recorded_as_the_paper_records_it(diverged):
    run = read_json(diverged / RUN_FILE)
    assert run["status"] == "diverged"
    assert run["reason"].startswith(f"epoch {run['epochs'] + 1}: ")
    assert (run["best_r2"], run["final_r2"], run["best_val_loss"]) == (0, 0, math.inf)
    assert run["finished_at"]
    assert len(read_history(diverged / HISTORY_FILE)) == run["epochs"]
    assert set(states(diverged)) == {"best", "last"}
    # Strict JSON readers find no bare Infinity in it.
    assert '"best_val_loss": "inf"' in (diverged / RUN_FILE).read_text(encoding="utf-8")


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("learning_rate", [1e12, 1e30])
def test_every_way_to_collapse_ends_alike(run, solver, learning_rate):
    record = read_json(run("blown_up", solver=solver, learning_rate=learning_rate, epochs=20) / RUN_FILE)
    assert record["status"] == "diverged"
    assert record["best_r2"] == 0


def test_data_that_are_no_numbers_end_as_diverged(run, heldout_fold):
    observed = heldout_fold.observed.copy()
    observed[heldout_fold.parts["train"][0], 1, 0] = np.nan
    record = read_json(run("nan", fold=replace(heldout_fold, observed=observed)) / RUN_FILE)
    assert record["status"] == "diverged"
    assert record["reason"] == "epoch 1: training loss is nan"
    assert record["epochs"] == record["best_epoch"] == 0


def test_a_collapse_in_validation_is_distinguished(run, heldout_fold):
    observed = heldout_fold.observed.copy()
    observed[heldout_fold.parts["validation"][0], 1, 0] = np.nan
    record = read_json(run("nan", fold=replace(heldout_fold, observed=observed)) / RUN_FILE)
    assert record["reason"] == "epoch 1: validation loss is nan"


def test_a_late_collapse_takes_back_what_was_scored_before(run, heldout_fold):
    fold = replace(heldout_fold, observed=heldout_fold.observed.copy())
    epochs = []

    def break_after_two():
        epochs.append(len(epochs) + 1)
        if len(epochs) == 2:
            fold.observed[fold.parts["train"]] = np.nan

    folder = run("late", fold=fold, on_epoch=break_after_two, epochs=6)
    record = read_json(folder / RUN_FILE)
    assert record["reason"] == "epoch 3: the latent path is not finite"
    assert (record["epochs"], len(read_history(folder / HISTORY_FILE))) == (2, 2)
    assert (record["best_r2"], record["final_r2"], record["best_val_loss"]) == (0, 0, math.inf)
    assert record["best_epoch"] in (1, 2)
    # What was best before is kept.
    assert all(torch.isfinite(tensor).all() for tensor in states(folder)["best"].values())


# Early stopping, and where validation is scored


def test_patience_stops_after_so_many_epochs_without_progress(run):
    # A learning rate this small changes nothing but the draw, so the first epochs decide.
    record = read_json(run("patient", epochs=60, patience=3, learning_rate=1e-12) / RUN_FILE)
    assert record["epochs"] - record["best_epoch"] == 3
    assert record["epochs"] < 60
    assert record["status"] == "ok"


def test_without_patience_every_epoch_runs(run):
    assert read_json(run("stubborn", epochs=7, learning_rate=1e-12) / RUN_FILE)["epochs"] == 7


def test_validation_in_recorded_units_is_scored_there(run, heldout_fold):
    folders = {space: run(space, epochs=2, validation_space=space) for space in ("pca", "raw")}
    histories = {space: read_history(folder / HISTORY_FILE) for space, folder in folders.items()}
    for one, other in zip(histories["pca"], histories["raw"], strict=True):
        assert one["val_r2"] != other["val_r2"]
        # Nothing but the score changes.
        assert {k: v for k, v in one.items() if k not in ("val_r2", "seconds")} == {
            k: v for k, v in other.items() if k not in ("val_r2", "seconds")
        }
