import pytest

from odevae.report.findings import findings, run_to_turn


def run(protocol, seed, r2_neuron, **changes) -> dict:
    row = {
        "dataset": "mouse7",
        "protocol": protocol,
        "model": "v5",
        "latent_dim": 5.0,
        "lambda_smooth": "5e-4",
        "task": "onset",
        "seed": float(seed),
        "status": "ok",
        "best_r2": 0.5,
        "r2_neuron": r2_neuron,
        "trivial_r2_neuron": 0.1,
        "latent_rank": 5.0,
        "test_trials": 12.0,
        "shared_trials": 0.0,
        "padded_fraction": 0.0,
        "n_runs": None,
    }
    return row | changes


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([0.3, 0.5], "beats the best trivial guess in every run: r2_neuron 0.400 ± 0.141 against 0.100"),
        ([0.3, -0.3], "beats the best trivial guess in 1 of 2 runs: r2_neuron 0.000 ± 0.424 against 0.100"),
        ([0.1, -0.3], "does not beat the best trivial guess in any run: r2_neuron -0.100 ± 0.283 against 0.100"),
        ([0.3], "beats the best trivial guess: r2_neuron 0.300 against 0.100"),
    ],
)
def test_unseen_trials_decide_whether_the_model_beats_the_best_guess(scores, verdict):
    rows = [run("heldout", seed, score) for seed, score in enumerate(scores)]
    rows.append(run("published", 1, 0.99, shared_trials=1.0))
    assert findings(rows)[0].startswith(f"On held-out trials, given the first frame, v5 (D = 5, mouse7) {verdict}")


def test_a_study_without_unseen_trials_says_so():
    sentences = findings([run("published", 1, 0.9, shared_trials=2 / 3, padded_fraction=0.768)])
    assert sentences[0] == "No run of this study was scored on held-out trials."
    assert "67% of the scored sequences come from trials that were also trained on, and 77% of" in sentences[1]


@pytest.mark.parametrize(
    ("trials", "text"),
    [
        ([1.0, 1.0], "2 runs, each scored on 1 trial; fewer than five are an anecdote, not a result."),
        ([4.0, 7.0], "2 runs, each scored on 4 to 7 trials; fewer than five are an anecdote, not a result."),
        ([5.0], "1 run, each scored on 5 trials."),
    ],
)
def test_few_trials_are_called_an_anecdote(trials, text):
    rows = [run("heldout", seed, 0.3, test_trials=n) for seed, n in enumerate(trials)]
    assert findings(rows)[-1] == f"v5 (D = 5, mouse7) under heldout: {text}"


def test_runs_that_lost_a_latent_dimension_are_counted_and_named():
    rows = [run("heldout", 1, 0.3), run("heldout", 2, 0.3, latent_rank=4.0), run("heldout", 3, 0.3, status="diverged")]
    assert findings(rows)[-1] == "1 of 3 runs lost latent dimensions: v5 seed 2 uses 4 of 5."
    assert "lost" not in findings(rows[:1])[-1]


def test_runs_that_diverged_are_counted_and_named():
    rows = [run("heldout", 1, 0.3), run("heldout", 2, None, status="diverged", best_r2=0.0)]
    assert findings(rows)[-1] == "1 of 2 runs diverged: heldout seed 2."
    assert "beats the best trivial guess: r2_neuron 0.300 against 0.100" in findings(rows)[0]


def test_means_are_no_runs():
    rows = [run("heldout", 1, 0.3), run("heldout", 0, 0.9, n_runs=1.0)]
    assert findings(rows) == findings(rows[:1])


def test_the_run_that_can_be_turned_is_the_first_one_of_unseen_trials():
    seen, first, second = run("published", 1, 0.9), run("heldout", 2, 0.1), run("heldout", 1, 0.8)
    broken = run("heldout", 9, None, status="diverged")
    assert run_to_turn([seen, broken, first, second]) is first
    assert run_to_turn([seen]) is seen
    assert run_to_turn([broken]) is None
