import re

import numpy as np
import pytest
from test_page import text_of

from odevae.report.benchmark_answers import answers
from odevae.report.benchmark_findings import benchmark_findings
from odevae.report.benchmark_page import benchmark_page


def score(model, task, mean, dim=None, low=None, **changes) -> dict:
    row = {
        "dataset": "e65",
        "task": task,
        "metric": "r2_neuron",
        "model": model,
        "latent_dim": dim,
        "n_splits": 3.0,
        "test_trials": 18.0,
        "mean": mean,
        "sd": None,
        "compared_with": None if low is None else "ar2",
        "difference_low": low,
        "null_95": None,
    }
    return row | changes


ROWS = [
    score("ar2", "forecast@10", 0.2),
    score("ar2", "forecast@5", 0.4),
    score("pca", "forecast@5", 0.1, 3.0, low=-0.4),
    score("pca", "forecast@5", 0.5, 7.0, low=0.05, sd=0.01),
    score("lds", "forecast@5", 0.3, 7.0, low=-0.2),
    score("lds", "onset5", 0.1, 7.0, low=-0.2),
    score("ar2", "onset5", 0.15),
    score("all_neurons", "reconstruct", 1.0),
    score("pca", "decode/x", 0.3, 7.0, null_95=0.2, metric="r2"),
    score("lds", "decode/x", 0.1, 7.0, null_95=0.2, metric="r2"),
    score("mind", "intrinsic_dimension", 4.0, metric="correlation_dimension"),
    score("pca", "cosmooth_saturation", 5.0),
]


def test_sentences_say_where_models_are_better_and_where_not():
    assert benchmark_findings(ROWS) == [
        "4 models on e65: 3 random splits, 18 test trials each.",
        "Scores above the model that they are compared with on the same splits (the 95 % interval of the difference is "
        "above 0): forecast@5 1 of 3 (ar2).",
        "No score is above the model that it is compared with in onset5 (ar2).",
        "Scores of decoding above 95 % of their own null: x 1 of 2.",
    ]


EVENTS = [
    score("pca", "cosmooth", 0.0, 7.0),
    score("pca", "cosmooth", 0.63, 7.0, metric="event_auc"),
    score("lds", "cosmooth", 0.6, 7.0, metric="event_auc"),
    score("pca", "cosmooth", 0.25, 7.0, metric="bits_per_event"),
    score("pca", "reconstruct", 0.9, 7.0, metric="event_auc"),
]


def test_event_scores_have_sentences_and_tables_of_their_own(figure):
    sentences = benchmark_findings(EVENTS)
    assert "Best event_auc, whether a neuron is active and not how much: cosmooth pca 0.630." in sentences
    assert "Best bits_per_event, whether a neuron is active and not how much: cosmooth pca 0.250." in sentences
    text = text_of(benchmark_page("quick", EVENTS, {}, ""))
    assert (
        "e65, D = 7 model cosmooth pca 0.000 e65, D = 7: event_auc model reconstruct cosmooth pca 0.900 0.630" in text
    )


def test_several_data_sets_share_the_sentences():
    rows = ROWS + [row | {"dataset": "disc", "test_trials": 4.0} for row in ROWS]
    sentences = benchmark_findings(rows)
    assert sentences[0] == (
        "4 models on 2 data sets: 3 random splits, 4 to 18 test trials each; scores on fewer than five are an "
        "anecdote, not a result."
    )
    assert "forecast@5 2 of 6 (ar2)" in sentences[1]


@pytest.mark.parametrize("missing", [np.nan, None])
def test_scores_that_are_not_defined_are_left_out(missing):
    assert benchmark_findings([score("pca", "onset5", missing, 3.0)]) == ["No model has a score."]


def test_the_first_screen_has_the_best_of_each_task(figure):
    figures = {"reconstruct": figure, "forecast": figure}
    page = benchmark_page("quick", ROWS, figures, "splits: [0]", warnings=["e65 is unusual."])
    text = text_of(page)
    places = [
        text.index(part)
        for part in (
            "Which model predicts trials that it has not seen?",
            "e65 is unusual.",
            "4 models on e65",
            "task best with latents best without latents compared with scores above that",
            "reconstruct – all_neurons 1.000 – –",
            "onset5 lds (D = 7) 0.100 ar2 0.150 ar2 0.150 0 of 1",
            "forecast@5 pca (D = 7) 0.500 ± 0.010 ar2 0.400 ar2 0.400 1 of 3",
            "e65, D = 7",
            "e65, D = 3",
            "splits: [0]",
        )
    ]
    assert places == sorted(places)
    assert page.index("<img") < page.index("<table") and page.count("<img") == 2


def test_every_dimension_has_a_table(figure):
    page = benchmark_page("quick", ROWS, {"forecast": figure}, "")
    text = text_of(page)
    head = "model reconstruct onset5 forecast@5 forecast@10 decode/x intrinsic_dimension"
    assert f"e65, D = 7 {head} ar2 – 0.150 0.400 0.200 – – pca – – 0.500 ± 0.010 – 0.300 –" in text
    # Nothing was decoded at this dimension.
    head = head.replace("decode/x ", "")
    assert f"e65, D = 3 {head} ar2 – 0.150 0.400 0.200 – pca – – 0.100 – –" in text
    # A dimension is neither better nor worse.
    assert re.findall(r'<td class="best">(.*?)</td>', page)[:5] == ["0.150", "0.200", "0.500 ± 0.010", "0.300", "1.000"]
    assert 'class="best">4.000' not in page
    assert "cosmooth_saturation" not in page


def test_models_without_latents_alone_have_a_table(figure):
    assert "Every score e65 model forecast@10 ar2 0.200" in text_of(benchmark_page("quick", ROWS[:1], {}, ""))


ASKED = [
    score("v5", "onset5", -0.5, 7.0, low=-0.9) | {"difference_high": -0.3, "compared_with": "mean"},
    score("mean", "onset5", 0.01),
    score("v5", "decode/x", 0.3, 7.0, null_95=0.2, metric="r2"),
    score("v5", "decode/y", 0.1, 7.0, null_95=0.2, metric="r2"),
    score("pca", "reconstruct", 0.2, 3.0, low=0.1) | {"difference_high": 0.3, "compared_with": "mean"},
    score("pca", "reconstruct", 0.4, 7.0, low=0.3) | {"difference_high": 0.5, "compared_with": "mean"},
    score("mean", "reconstruct", 0.01),
    score("pca", "cosmooth", 0.05, 7.0),
    score("all_neurons", "cosmooth", 0.06),
    score("pca", "cosmooth", 0.63, 7.0, metric="event_auc"),
]


def test_the_model_in_question_comes_first():
    assert answers(ASKED, "v5") == [
        "Few dimensions? pca carries 0.200 and 0.400 of the variance of test trials through 3 and 7 latents; mean, "
        "without any, has 0.010 (reconstruct).",
        "Shared by the neurons? A quarter of them, predicted from latents of the others: pca (D = 7) 0.050, "
        "all_neurons 0.060 (r2_neuron, 0 says nothing); pca (D = 7) 0.630 (event_auc, 0.5 is chance).",
        "Better than a simple guess? v5 is worse in onset5. Behaviour read from its latents is above its null for x; "
        "not above its null for y.",
    ]
    text = text_of(benchmark_page("mine", ASKED, {}, "", "v5", "--configfile mine.yaml"))
    assert "Does this population move on a low-dimensional manifold" in text
    assert text.index("Few dimensions?") < text.index("models on e65")
    assert "task v5 compared with v5 is best with latents best without latents" in text
    assert "onset5 -0.500 mean 0.010 worse v5 (D = 7) -0.500 mean 0.010" in text
    assert "snakemake --cores all --configfile mine.yaml results/report/mine.html" in text


def test_a_model_without_scores_and_differences_that_are_not_shown():
    assert answers(ASKED, "lds")[-1] == "lds has no score to compare."
    same = [score("v5", "onset5", 0.0, 7.0, low=-0.1) | {"difference_high": 0.1, "compared_with": "mean"}]
    assert answers(same, "v5") == ["Better than a simple guess? v5 is not shown to differ in onset5."]
