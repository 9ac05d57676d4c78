import numpy as np
import pandas as pd
import pytest

from odevae.benchmark.comparison import paired_difference
from odevae.benchmark.families import FAMILIES, Task
from odevae.benchmark.grid import Cell, benchmark_cells, fits_of, left_out, model_class, module_file
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.table import benchmark_table, notes_of_benchmark, saturation, table_of_cells
from odevae.config.schema import check_benchmarks
from odevae.errors import OdevaeError
from odevae.plots.benchmark import NULL, benchmark_scores
from odevae.storage.files import write_json

CONFIG = {
    "datasets": {"disc": {}, "sphere": {}},
    "studies": {},
    "benchmark_models": {
        "pca": {"class": "linear.PCA", "latent_dims": "any"},
        "hold": {"class": "means.Persistence", "latent_dims": []},
    },
    "benchmarks": {"all": {"datasets": {"disc": [2, 3]}, "splits": [0, 1], "compare_with": {"reconstruct": "pca"}}},
}


def changed(**settings) -> dict:
    return CONFIG | {"benchmarks": {"all": CONFIG["benchmarks"]["all"] | settings}}


def test_a_model_has_one_cell_for_each_split_with_all_its_dimensions():
    paths = [cell.path for cell in benchmark_cells(CONFIG, "all")]
    assert paths == [
        f"disc/heldout/split{split}/benchmark_models/{name}.json"
        for name in ("pca/d2-3", "hold/d0")
        for split in (0, 1)
    ]
    assert [Cell.at(path) for path in paths] == benchmark_cells(CONFIG, "all")


def test_two_benchmarks_share_the_cells_that_both_ask_for():
    whole, quick = benchmark_cells(CONFIG, "all"), benchmark_cells(changed(splits=[1]), "all")
    assert quick == [Cell("disc", 1, "pca", (2, 3)), Cell("disc", 1, "hold", (0,))]
    assert set(quick) < set(whole)


def test_a_slow_model_is_fitted_at_its_own_dimensions_only():
    slow = CONFIG["benchmark_models"] | {"slow": {"class": "means.Persistence", "latent_dims": [3, 9]}}
    cells = benchmark_cells(changed(splits=[0]) | {"benchmark_models": slow}, "all")
    assert [cell.latent_dims for cell in cells if cell.model == "slow"] == [(3,)]
    several = benchmark_cells(
        changed(splits=[0], datasets={"disc": [3], "sphere": [6]}) | {"benchmark_models": slow}, "all"
    )
    assert [(c.dataset, c.model, c.latent_dims) for c in several if c.model != "hold"] == [
        ("disc", "pca", (3,)),
        ("disc", "slow", (3,)),
        ("sphere", "pca", (6,)),
    ]


def test_every_dimension_of_a_cell_is_an_entry_of_its_own():
    fits = [{"latent_dim": dim, "fit_s": 1.0, "scores": {"reconstruct": {"r2_neuron": dim / 10}}} for dim in (2, 3)]
    entries = fits_of({"dataset": "disc", "split": 0, "fits": fits})
    assert entries == [{"dataset": "disc", "split": 0, **fit} for fit in fits]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"datasets": {"e66": [3]}}, "'e66', which is not under 'datasets'; known: disc, sphere"),
        ({"models": ["lda"]}, "'lda', which is not under 'benchmark_models'; known: pca, hold"),
        ({"models": ["hold"]}, "compare_with.reconstruct: pca is not among its models"),
        ({"compare_with": {"onset": "lda"}}, "'lda', which is not under 'benchmark_models'"),
    ],
)
def test_a_benchmark_of_what_does_not_exist_is_refused(settings, sentence):
    check_benchmarks(CONFIG)
    with pytest.raises(OdevaeError, match=sentence):
        check_benchmarks(changed(**settings))
    with pytest.raises(OdevaeError, match="a study has this name too"):
        check_benchmarks(CONFIG | {"studies": {"all": {}}})


NEEDY = {
    "benchmark_models": CONFIG["benchmark_models"] | {"maze": {"class": "x.Y", "latent_dims": [], "needs": ["place"]}}
}


def with_covariates(**named) -> dict:
    datasets = {name: {"decode": [], "colour_by": []} | named for name in CONFIG["datasets"]}
    return changed(splits=[0], datasets={"disc": [3]}) | NEEDY | {"datasets": datasets}


def test_a_model_that_lacks_a_covariate_is_left_out_and_named():
    config = with_covariates()
    assert "maze" not in {cell.model for cell in benchmark_cells(config, "all")}
    assert left_out(config, "all") == [
        "all: without maze on disc, because datasets.disc names no covariate place in decode or colour_by."
    ]
    for key in ("decode", "colour_by"):
        config = with_covariates(**{key: ["place"]})
        assert "maze" in {cell.model for cell in benchmark_cells(config, "all")} and left_out(config, "all") == []


def test_a_model_asked_for_by_name_that_lacks_a_covariate_is_refused():
    config = with_covariates()
    config["benchmarks"]["all"]["models"] = ["pca", "maze"]
    config["benchmarks"]["all"]["compare_with"] = {}
    with pytest.raises(OdevaeError, match=r"models names maze, which needs place, but datasets\.disc names no such"):
        check_benchmarks(config)


@pytest.mark.parametrize("place", ["benchmark_model.nothing", "means.np", "os.path.join", "means"])
def test_only_a_class_of_ours_is_a_model(place):
    assert model_class("benchmark_model.BenchmarkModel") is BenchmarkModel
    with pytest.raises(OdevaeError, match=r"has no class|names no model|there is no file"):
        model_class(place)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OdevaeError, match=r"benchmark_models: nowhere\.Model: there is no file"):
        module_file(tmp_path, "nowhere.Model")


def cell(model: str, latent_dim: int, split: int, value: float, dataset: str = "disc") -> dict:
    tasks = {"reconstruct": value, "forecast@5": value / 2, "forecast@10": value / 4}
    scores = {task: {"r2_neuron": number, "r2_pooled": 0.0, "n_values": 100} for task, number in tasks.items()}
    events = {"event_auc": 0.5 + value / 2, "bits_per_event": value, "n_events": 4, "auc_left_out": 3}
    scores["cosmooth"] = {"r2_neuron": value + 1, "n_values": 10} | events
    scores["new_events@5"] = {"n_values": 8} | events
    scores["intrinsic_dimension"] = {"correlation_dimension": 2 + value, "n_values": 50}
    scores["decode/Choice"] = {"balanced_accuracy": 0.5 + value / 4, "null_mean": 0.5, "null_95": 0.6, "n_values": 7}
    return {
        "dataset": dataset,
        "split": split,
        "model": model,
        "latent_dim": latent_dim,
        "n_trials": {"train": 16, "validation": 2, "test": 2},
        "events": "sparse",
        "kernel_frames": 7,
        "fit_s": 1.0 + split,
        "scores": scores,
    }


def benchmark_rows(cells: list[dict], compare_with: dict[str, str]) -> list[dict]:
    return benchmark_table(cells, compare_with).to_dict("records")


PCA, HOLD = (0.2, 0.3, 0.25), (0.1, 0.25, 0.05)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    cells = [cell("pca", 2, split, value) for split, value in enumerate(PCA)]
    cells += [cell("hold", 0, split, value) for split, value in enumerate(HOLD)]
    return benchmark_rows(cells[::-1], {"reconstruct": "pca", "forecast": "hold"})


def row_of(rows, task, model):
    (row,) = (row for row in rows if (row["task"], row["model"]) == (task, model))
    return row


def test_a_row_shows_what_it_is_computed_from(rows):
    assert " ".join(rows[0]) == (
        "dataset task metric model latent_dim n_splits test_trials mean sd compared_with difference difference_low "
        "difference_high smallest_difference null_mean null_95 inside_kernel auc_left_out n_values n_events fit_s"
    )
    row = row_of(rows, "reconstruct", "pca")
    assert (row["metric"], row["latent_dim"], row["n_splits"], row["n_values"]) == ("r2_neuron", 2, 3, 300)
    assert (row["mean"], row["sd"]) == pytest.approx((np.mean(PCA), np.std(PCA, ddof=1)))
    assert (row["fit_s"], row["test_trials"]) == (2.0, 2)
    assert row_of(rows, "reconstruct", "hold")["latent_dim"] is None
    assert row_of(rows, "decode/Choice", "pca")["null_95"] == pytest.approx(0.6)


def test_cosmooth_saturates_where_more_dimensions_no_longer_help(rows):
    clear = {2: {0: 0.1, 1: 0.2, 2: 0.3}, 3: {0: 0.2, 1: 0.3, 2: 0.4}, 5: {0: 0.21, 1: 0.29, 2: 0.42}}
    assert saturation(pd.DataFrame(clear), 0.1) == 3
    assert saturation(pd.DataFrame({2: {0: 0.5, 1: 0.4}, 3: {0: 0.4, 1: 0.3}}), 0.1) == 2
    assert not [row for row in rows if row["task"] == "cosmooth_saturation"], "one dimension says nothing"
    cells = [cell("pca", dim, split, value + 0.1 * (dim > 2)) for dim in (2, 3, 5) for split, value in enumerate(PCA)]
    (row,) = (row for row in benchmark_rows(cells, {}) if row["task"] == "cosmooth_saturation")
    assert (row["model"], row["metric"], row["mean"], row["n_splits"]) == ("pca", "latent_dim", 3, 3)


def test_differences_are_paired_by_split(rows):
    row = row_of(rows, "forecast@5", "pca")
    expected = paired_difference(np.array(PCA) / 2, np.array(HOLD) / 2, 2 / 16)
    assert row["compared_with"] == "hold"
    assert [row[name] for name in ("difference", "difference_low", "difference_high", "smallest_difference")] == (
        pytest.approx([*expected])
    )
    assert row_of(rows, "reconstruct", "pca")["difference"] is None, "with itself"
    # Of another dimension, so there is nothing to compare with.
    assert row_of(rows, "reconstruct", "hold")["difference"] is None


def test_event_scores_have_rows_of_their_own_after_the_headline(rows):
    own = [row for row in rows if (row["task"], row["model"]) == ("cosmooth", "pca")]
    assert [row["metric"] for row in own] == ["r2_neuron", "event_auc", "bits_per_event"]
    assert [row["auc_left_out"] for row in own] == [None, 3, None]
    assert [row["n_events"] for row in own] == [None, 12, 12]
    assert own[2]["mean"] == pytest.approx(np.mean(PCA))
    new = [row["metric"] for row in rows if (row["task"], row["model"]) == ("new_events@5", "pca")]
    assert new == ["event_auc", "bits_per_event"]


def test_differences_of_event_scores_are_paired_with_the_same_score():
    cells = [cell("pca", 2, split, value) for split, value in enumerate(PCA)]
    cells += [cell("hold", 0, split, value) for split, value in enumerate(HOLD)]
    rows = benchmark_rows(cells, {"cosmooth": "hold"})
    (row,) = (row for row in rows if (row["task"], row["metric"], row["model"]) == ("cosmooth", "event_auc", "pca"))
    assert row["difference"] == pytest.approx((np.mean(PCA) - np.mean(HOLD)) / 2)


def test_a_difference_that_could_be_shown_is_found_four_times_in_five():
    """Splits of nothing in common, of differences of SD 1: experiments whose interval leaves 0 out."""
    generator = np.random.default_rng(0)
    n = 10
    expected = paired_difference(np.sqrt(n - 1) / np.sqrt(n) * np.array([1, -1] * (n // 2)), np.zeros(n), 0.0).smallest
    found = [paired_difference(generator.normal(expected, 1, n), np.zeros(n), 0.0).low > 0 for _ in range(2000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)
    shared = paired_difference([0.1, 0.3, 0.2], [0, 0, 0], 0.125)
    alone = paired_difference([0.1, 0.3, 0.2], [0, 0, 0], 0.0)
    assert shared.smallest / alone.smallest == pytest.approx(np.sqrt((1 / 3 + 0.125) / (1 / 3)))


def test_forecasts_inside_the_kernel_are_marked(rows):
    inside = {row["task"]: row["inside_kernel"] for row in rows}
    assert inside["forecast@5"] == 7 and inside["forecast@10"] is None and inside["reconstruct"] is None
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in benchmark_scores(rows, "forecast", "all").axes]
    assert ["kernel of 7 frames" in title.replace("\n", " ") for title in titles[:2]] == [True, False]


def test_notes_name_the_interval_the_trials_and_the_kernel(rows):
    interval, trials, kernel = notes_of_benchmark(pd.DataFrame(rows))
    assert "Nadeau and Bengio" in interval and "n_test/n_train" in interval
    assert trials == "disc: scored on 2 trials; that is an anecdote, not a result."
    assert "smoothed over 7 frames" in kernel
    cells = [cell("pca", 2, split, value) | {"n_trials": {"train": 64, "test": 8}} for split, value in enumerate(PCA)]
    for one in cells:
        one["scores"] = {task: one["scores"][task] for task in ("reconstruct", "forecast@5")}
    _, trials, dense, smooth = notes_of_benchmark(benchmark_table(cells, {}))
    assert "scored on 8 trials, fewer than 10" in trials and "no event scores" in dense
    # The activity of a slow animal's place cells is smooth without any kernel.
    assert "changes smoothly over 7 frames" in smooth


def test_a_cell_of_an_older_version_is_refused(tmp_path):
    content = cell("pca", 2, 0, 0.1)
    fit = {name: content.pop(name) for name in ("latent_dim", "fit_s", "scores")}
    file = tmp_path / "d2.json"
    write_json(file, content | {"fits": [fit]})
    assert len(table_of_cells([file], {}))
    del content["events"]
    write_json(file, content | {"fits": [fit]})
    with pytest.raises(OdevaeError, match=r"d2\.json: has no events, so an older version of odevae wrote it"):
        table_of_cells([file], {})


def test_horizons_are_in_order(rows):
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    assert tasks == [
        "cosmooth",
        "decode/Choice",
        "forecast@5",
        "forecast@10",
        "intrinsic_dimension",
        "new_events@5",
        "reconstruct",
    ]


def test_data_sets_are_compared_with_their_own():
    cells = [cell("pca", 2, split, value, dataset) for dataset in ("disc", "sphere") for split, value in enumerate(PCA)]
    cells += [cell("hold", 0, split, value, "disc") for split, value in enumerate(HOLD)]
    rows = benchmark_rows(cells, {"reconstruct": "hold"})
    compared = {row["dataset"]: row["difference"] for row in rows if row["task"] == "reconstruct" and row["latent_dim"]}
    assert compared["disc"] == pytest.approx(np.mean(PCA) - np.mean(HOLD)) and compared["sphere"] is None
    (panel,) = benchmark_scores(rows, "reconstruct", "all").axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["disc\nD = 2", "sphere\nD = 2"]


def test_a_score_that_is_not_defined_stays_in_the_table():
    cells = [cell("pca", 2, split, value) for split, value in enumerate((0.2, np.nan, 0.3))]
    row = row_of(benchmark_rows(cells, {}), "reconstruct", "pca")
    assert np.isnan(row["mean"]) and np.isnan(row["sd"]) and row["null_mean"] is None
    row = row_of(benchmark_rows(cells[:1], {}), "reconstruct", "pca")
    assert row["mean"] == 0.2 and row["sd"] is None


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("reconstruct", Task("reconstruct")),
        ("onset5", Task("onset", 5)),
        ("forecast@10", Task("forecast", 10)),
        ("new_events@5", Task("new_events", 5)),
        ("decode/Position 2", Task("decode", subject="Position 2")),
        ("rates/plain_mean", Task("rates", subject="plain_mean")),
        ("cosmooth_saturation", Task("cosmooth_saturation")),
    ],
)
def test_a_task_and_its_name(name, task):
    assert Task.parse(name) == task and task.name == name


def test_every_family_that_was_asked_has_a_figure(rows):
    families = {Task.parse(row["task"]).family for row in rows}
    assert families & set(FAMILIES) == {"cosmooth", "decode", "forecast", "new_events", "reconstruct"}
    for family in families & set(FAMILIES):
        shown = [axes for axes in benchmark_scores(rows, family, "all").axes if axes.axison]
        assert len(shown) == len({(row["task"], row["metric"]) for row in rows if row["task"].startswith(family)})
        legend = [text.get_text() for text in benchmark_scores(rows, family, "all").legends[0].get_texts()]
        assert legend == ["hold", "pca"] + [NULL] * (family == "decode")
