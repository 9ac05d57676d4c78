"""The views that each experiment of the MLflow UI offers: what it lists under "Views".

The UI keeps a view as a tag of the experiment, whose value is the state of its page (as MLflow 3.17 writes it). The
state of the charts names every metric, because the UI adds a chart for each one that has none.
"""

import json
from collections.abc import Iterable, Sequence

from odevae.tracking.records import HISTORY, ROW_TAG, metric_name
from odevae.tracking.studies import SWEPT, TrackedStudy

VIEW_TAG = "mlflow.sharedViewState."
SCORES, CURVES, SWEEP, MODELS, TASKS = "scores", "learning-curves", "sweep", "models", "tasks"
# Folds and the run of the study as a whole have no model.
TRAINED = "params.model != ''"
SETTINGS = ("protocol", "model", "latent_dim", "lambda_smooth", "seed")
# All scores of a run; the view of scores has the first ones in columns.
SCORES_OF_RUN = (
    *("best_r2", "final_r2", "r2_neuron", "trivial_r2_neuron", "test_trials", "shared_trials", "padded_fraction"),
    *("best_epoch", "best_val_loss", "r2_pooled", "r", "skill"),
    *("event_auc", "bits_per_event", "trivial_bits_per_event", "latent_rank", "participation_ratio"),
)
N_SHOWN = 7
STRESSES = ("manifold/trial_stress", "manifold/trials_stress")
# In pixels, so that all scores are seen at a width of 1400.
NAME_WIDTH, GROUP_WIDTH, CREATED_WIDTH = 185, 330, 85
LETTER_WIDTH, MARGIN = 7, 20
NAME, CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
# Curves first that say whether a training went well.
CURVE_CHARTS = ("validation/r2", "validation/loss", "train/loss", "train/kl", "train/solver_steps")
SUMMARY_METRICS = (*(f"score/{name}" for name in SCORES_OF_RUN), *STRESSES)
MOST_RUNS = 100
# The views of a program have no moment of their own.
NEVER_MS = 0


def tags_of_views(study: TrackedStudy) -> dict[str, str]:
    """The tags of an experiment that make its views; none for a benchmark whose tasks are not known yet."""
    if study.benchmark:
        views = {MODELS: ("Models", models(study.tasks)), TASKS: ("Tasks", tasks(study.tasks))} if study.tasks else {}
    else:
        views = {
            SCORES: ("Scores", scores()),
            CURVES: ("Learning curves", curves()),
            SWEEP: ("Sweep", sweep(study.varied)),
        }
    return {f"{VIEW_TAG}{key}": _tag(name, state) for key, (name, state) in views.items()}


def scores() -> dict:
    """A row for each run, in the order of the study's table."""
    metrics = [f"metrics.`score/{name}`" for name in SCORES_OF_RUN[:N_SHOWN]]
    params = [f"params.`{name}`" for name in SETTINGS]
    return _table([*metrics, *params, "tags.`status`"])


def models(names: Sequence[str]) -> dict:
    """A row for each model and dimension, with means over splits."""
    table = _table([f"metrics.`{metric_name(f'score/{task}')}`" for task in names])
    table["columnWidths"][NAME] = GROUP_WIDTH
    return table | _means_by("model", "latent_dim")


def curves() -> dict:
    """Losses and scores by epoch, a mean with its band for each protocol and model."""
    hidden = [_line(name) for name in HISTORY if name not in CURVE_CHARTS] + [_bar(name) for name in SUMMARY_METRICS]
    return _charts("Learning curves", map(_line, CURVE_CHARTS), hidden) | _means_by("protocol", "model")


def sweep(varied: Sequence[str]) -> dict:
    """The published score and ours against what the study varies."""
    charts = [_scatter(name, f"score/{score}") for name in varied or SWEPT[:1] for score in ("best_r2", "r2_neuron")]
    hidden = [*map(_line, HISTORY), *map(_bar, SUMMARY_METRICS)]
    return _charts("Scores against the settings", charts, hidden)


def tasks(names: Sequence[str]) -> dict:
    """A chart for each task, with a bar for each model and dimension."""
    charts = [_bar(metric_name(f"score/{task}")) for task in names]
    return _charts("Tasks", charts, [_bar("fit_s")]) | _means_by("model", "latent_dim")


def _means_by(*params: str) -> dict:
    keys = [{"mode": "param", "groupByData": name} for name in params]
    return {"groupBy": {"aggregateFunction": "average", "groupByKeys": keys}}


def _table(columns: Sequence[str]) -> dict:
    return {
        "searchFilter": TRAINED,
        "orderByKey": f"tags.`{ROW_TAG}`",
        "orderByAsc": True,
        "selectedColumns": list(columns),
        "columnOrder": [NAME, CREATED, *columns],
        "columnWidths": {NAME: NAME_WIDTH, CREATED: CREATED_WIDTH}
        | {column: LETTER_WIDTH * len(column.split("`")[1]) + MARGIN for column in columns},
    }


def _charts(title: str, shown: Iterable[dict], hidden: Iterable[dict]) -> dict:
    """One section of charts; `hidden` ones are listed as deleted."""
    section = {"uuid": "odevae", "name": title, "display": True, "isReordered": True, "deleted": False}
    charts = [*(chart | {"deleted": False} for chart in shown), *(chart | {"deleted": True} for chart in hidden)]
    return _table([]) | {
        "runsHiddenMode": "SHOWALL",
        "isAccordionReordered": True,
        "compareRunSections": [section | {"isGenerated": False, "columns": 3, "cardHeight": 360}],
        "compareRunCharts": [
            chart | {"uuid": f"odevae-{i}", "metricSectionId": "odevae", "isGenerated": False, "displayName": ""}
            for i, chart in enumerate(charts)
        ],
    }


def _line(metric: str) -> dict:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "selectedXAxisMetricKey": "",
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": True,
        "useGlobalXaxisKey": True,
    }


def _scatter(param: str, metric: str) -> dict:
    axes = {"xaxis": {"key": param, "type": "PARAM"}, "yaxis": {"key": metric, "type": "METRIC"}}
    return {"type": "SCATTER", "runsCountToCompare": MOST_RUNS} | axes


def _bar(metric: str) -> dict:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": MOST_RUNS}


def _tag(name: str, state: dict) -> str:
    return json.dumps({"name": name, "createdAt": NEVER_MS, "updatedAt": NEVER_MS, "state": json.dumps(state)})
