"""Names that distinguish the runs of an experiment, and views that name what the store holds."""

import json
from itertools import product

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mirrored_runs import OBSERVATIONS, write_results, write_run
from workflow_project import CHECKOUT

from odevae.benchmark.grid import benchmark_cells, named_fits
from odevae.config.schema import check_config
from odevae.config.studies import study_runs
from odevae.storage.files import read_json
from odevae.storage.run_folder import AUDIT_FILE, METRICS_FILE, RunKey
from odevae.storage.scores import headline
from odevae.tracking.names import LONGEST, names_of_fits, names_of_runs, short_names
from odevae.tracking.records import HISTORY, record_of_run
from odevae.tracking.studies import TrackedStudy, tracked_benchmark, tracked_study
from odevae.tracking.views import SUMMARY_METRICS, VIEW_TAG, tags_of_views

# What MLflow takes as the value of a view.
LONGEST_VIEW = 20_000


@pytest.fixture(scope="module")
def config() -> dict:
    config = yaml.safe_load((CHECKOUT / "config/config.yaml").read_text(encoding="utf-8"))
    check_config(config, yaml.safe_load((CHECKOUT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8")))
    return config


ROWS = list(product(("a", "bb", "a long model's name", "x" * 40), repeat=3))


@given(st.lists(st.sampled_from(ROWS), unique=True))
def test_names_are_short_and_all_different(rows):
    runs = {str(i): [(part, part[:3]) for part in row] for i, row in enumerate(rows)}
    names = short_names(runs)
    assert list(names) == list(runs)
    assert len(set(names.values())) == len(names)
    assert all(0 < len(name) <= LONGEST for name in names.values())


def test_a_name_says_what_differs():
    keys = [RunKey("foraging", p, 0, "v1", 3, "5e-4", seed) for p, seed in product(("published", "heldout"), (1, 1337))]
    assert list(names_of_runs(keys).values()) == [
        *("v1 seed 1 published", "v1 seed 1337 published", "v1 seed 1 heldout", "v1 seed 1337 heldout")
    ]
    fits = {"one": ("e65", 0, "pca", 7), "other": ("e65", 1, "pca", 7), "none": ("e65", 0, "persistence", 0)}
    assert names_of_fits(fits) == {
        "one": "pca D7 split 0 e65",
        "other": "pca D7 split 1 e65",
        "none": "persistence split 0 e65",
    }


def test_every_run_of_the_shipped_studies_has_its_own_name(config):
    for study in config["studies"]:
        labels = tracked_study(config, study).labels
        assert len(set(labels.values())) == len(labels) > len(study_runs(config, study))
        assert max(map(len, labels.values())) <= LONGEST
    for benchmark in config["benchmarks"]:
        fits = named_fits(benchmark_cells(config, benchmark))
        labels = tracked_benchmark(config, benchmark, fits).labels
        assert len(set(labels.values())) == len(labels) == len(fits)


def test_views_name_every_metric_of_a_run(config, tmp_path):
    """The UI adds a chart for each metric that a view does not name."""
    folder = write_run(tmp_path, columns=HISTORY.values())
    write_results(folder)
    record = record_of_run(folder)
    logged = {*record.summary, *record.columns}
    assert len(logged) <= 40
    assert logged <= {*HISTORY, *SUMMARY_METRICS}
    metrics = read_json(folder / METRICS_FILE)
    audit = read_json(folder.parents[1] / OBSERVATIONS / AUDIT_FILE)
    # Also those that only a recording with events has.
    assert {f"score/{name}" for name in headline(metrics, audit)} <= set(SUMMARY_METRICS)
    for tag, text in tags_of_views(tracked_study(config, "e65_runs")).items():
        assert len(text) < LONGEST_VIEW
        state = json.loads(json.loads(text)["state"])
        charts = state.get("compareRunCharts", [])
        if tag == f"{VIEW_TAG}scores":
            assert not charts and "metrics.`score/r2_neuron`" in state["selectedColumns"]
        else:
            named = {chart["metricKey"] for chart in charts if "metricKey" in chart}
            assert named >= logged
            assert any(not chart["deleted"] for chart in charts)


def test_a_benchmark_has_a_row_for_each_model_and_a_chart_for_each_task():
    study = TrackedStudy("bench", tasks=("reconstruct", "forecast@5"), benchmark=True)
    views = {tag: json.loads(json.loads(text)["state"]) for tag, text in tags_of_views(study).items()}
    models, tasks = views[f"{VIEW_TAG}models"], views[f"{VIEW_TAG}tasks"]
    assert models["selectedColumns"] == ["metrics.`score/reconstruct`", "metrics.`score/forecast_5`"]
    assert [key["groupByData"] for key in models["groupBy"]["groupByKeys"]] == ["model", "latent_dim"]
    shown = [chart["metricKey"] for chart in tasks["compareRunCharts"] if not chart["deleted"]]
    assert shown == ["score/reconstruct", "score/forecast_5"]
    assert tags_of_views(TrackedStudy("bench", benchmark=True)) == {}


def test_a_description_says_what_came_out_and_how_to_repeat_it(config):
    study = tracked_study(config, "seed_sweep")
    assert "There is no table yet" in study.description()
    text = study.description("- It does not win.", "abc")
    assert text.startswith("How well do latent neural-ODE models (v1; D = 3) predict trials of foraging, foraging_long")
    assert "- It does not win." in text and "run_uuid=abc" in text and "no table yet" not in text
    assert "`snakemake --cores all results/tables/seed_sweep.csv`" in text
