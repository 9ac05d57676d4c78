"""Draw each scored trial's R2 and r against the latent dimension."""

from pathlib import Path

from odevae.artifacts import read_json
from odevae.folds import load_fold
from odevae.plots import save, scores_by_dimension
from odevae.runs import RUN_FILE, read_predictions
from odevae.scored import scores_of_trials
from odevae.stage import stage

RESULTS = Path("results")


def main(runs: dict[str, str], title: str, output: Path) -> None:
    rows = []
    for run, fold in runs.items():
        record = read_json(RESULTS / run / RUN_FILE)
        rows += scores_of_trials(load_fold(RESULTS / fold), record, read_predictions(RESULTS / run, record))
    save(scores_by_dimension(rows, title), output.with_suffix(""))


with stage(snakemake.log[0]):
    main(
        runs=snakemake.params.runs,
        title="{study}: {dataset}, {protocol}, {model}".format(**snakemake.wildcards),
        output=Path(snakemake.output.png),
    )
