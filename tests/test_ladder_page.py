import pytest
from test_page import text_of

from odevae.evaluation.audit_ladder import RUNGS
from odevae.report.ladder_findings import ladder_findings
from odevae.report.ladder_page import ladder_page


def on_rung(rung, r2, seed=1.0, **changes) -> dict:
    row = {
        "rung": rung,
        "flaw": RUNGS[rung][0],
        "dataset": "e65",
        "protocol": RUNGS[rung][1],
        "model": "v5",
        "latent_dim": 5.0,
        "lambda_smooth": "5e-4",
        "split": 1.0,
        "seed": seed,
        "status": "ok",
        "r2": r2,
        "r2_last": r2,
        "r2_neuron": r2,
        "reference_r2": 0.25,
        "test_trials": 3.0,
        "shared_trials": 0.5,
        "padded_fraction": 0.77,
        "n_runs": None,
        **dict.fromkeys(("r2_sd", "r2_last_sd", "r2_neuron_sd")),
    }
    return row | changes


def mean(rung, r2, sd=None, **changes) -> dict:
    about = {"seed": "mean", "split": None, "status": None, "n_runs": 3.0, "r2_sd": sd}
    return on_rung(rung, r2) | about | changes


ROWS = [
    on_rung("a", 0.5),
    mean("a", 0.5, 0.1),
    mean("b", 0.0),
    mean("c", 0.6),
    mean("g", -0.25, 0.05, shared_trials=0.0),
]


def test_sentences_say_how_much_each_flaw_moves_the_score():
    assert ladder_findings(ROWS) == [
        "As published, the R2 is 0.500 ± 0.100 for v5, above the best trivial guess of 0.250.",
        "Of the scored sequences, 50% come from trials that were also trained on; of the scored bins, 77% are padding.",
        "One flaw taken away alone moves R2 (v5): -0.500 by rung b (shared trials removed from training); +0.100 by "
        "rung c (padding masked out of the score).",
        "With all of them taken away, on trials that were not trained on: -0.250 ± 0.050 for v5, not above the best "
        "trivial guess of 0.250.",
        "A run is scored on 3 trials; fewer than five are an anecdote, not a result.",
    ]


def test_each_model_is_compared_with_itself():
    other = [
        row | {"latent_dim": 8.0, "r2": row["r2"] / 2, "shared_trials": 0.25, "padded_fraction": 0.772}
        for row in ROWS
        if row["rung"] != "c"
    ]
    sentences = ladder_findings(ROWS + other)
    assert len(sentences) == 5
    assert "for v5 D = 5, above the best trivial guess of 0.250; 0.250 ± 0.100 for v5 D = 8, not above" in sentences[0]
    assert sentences[1].startswith("Of the scored sequences, 25% to 50% come")
    assert sentences[1].endswith(" 77% are padding.")
    assert "(v5 D = 5, v5 D = 8): -0.500, -0.250 by rung b (" in sentences[2]
    assert "; +0.100, – by rung c (" in sentences[2]


def test_a_ladder_without_its_first_rung_claims_no_change():
    sentences = ladder_findings([on_rung("b", 0.3), mean("b", 0.3), on_rung("g", 0.3), mean("g", 0.3)])
    assert sentences[0].endswith("0.300 for v5, above the best trivial guess of 0.250.")
    assert len(sentences) == 2


@pytest.mark.parametrize(
    ("seeds", "text"), [([1.0], "1 run diverged and has"), ([1.0, 2.0], "2 runs diverged and have")]
)
def test_runs_that_diverged_are_counted_once(seeds, text):
    broken = [on_rung(rung, None, seed, status="diverged") for rung in "ac" for seed in seeds]
    sentences = ladder_findings([*broken, mean("a", None), mean("c", None)])
    assert sentences[-1] == f"{text} no score."


def test_the_first_screen_has_question_findings_and_ladder(figure):
    record = {"git_commit": "a" * 40, "data_sha256": "d" * 64, "host": "node7"}
    page = ladder_page("mine", ROWS, figure, [record, record], "ladder: true", ["e65 is unusual."])
    text = text_of(page)
    places = [
        text.index(part)
        for part in (
            "How much of the published score of v5 (D = 5) on e65 is left",
            "e65 is unusual.",
            "As published, the R2 is",
            "rung what is taken away runs R2 change best guess",
            "a as published 3 0.500 ± 0.100 – 0.250 0.500 0.500 3 50% 77%",
            "b shared trials removed from training 3 0.000 -0.500 0.250",
            "Every run on every rung",
            "a v5 5 1 1 ok 0.500 0.250 0.500 0.500 3 50%",
            "Provenance",
            "a" * 40,
            "node7",
            "ladder: true",
        )
    ]
    assert places == sorted(places)
    assert page.index("<img") < page.index("<table")
