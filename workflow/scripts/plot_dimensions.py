"""Draw each scored trial's R2 and r against the latent dimension."""

from pathlib import Path

from odevae.jobs.job_logging import stage
from odevae.plots import save, scores_by_dimension
from odevae.protocols.fold import load_fold
from odevae.report.run_predictions import scores_of_trials
from odevae.storage.files import read_json
from odevae.storage.run_folder import RUN_FILE, read_predictions

RESULTS = Path("results")


def main(runs: dict[str, str], title: str, files: list[Path]) -> None:
    rows = []
    for run, fold in runs.items():
        record = read_json(RESULTS / run / RUN_FILE)
        rows += scores_of_trials(load_fold(RESULTS / fold), record, read_predictions(RESULTS / run, record))
    save(scores_by_dimension(rows, title), *files)


with stage(snakemake.log[0]):
    main(
        runs=snakemake.params.runs,
        title="{study}: {dataset}, {protocol}, {model}".format(**snakemake.wildcards),
        files=[Path(file) for file in snakemake.output],
    )
