"""Write the table of an audit ladder from the predictions of its runs."""

from pathlib import Path

from odevae.folds import load_fold
from odevae.ladder import READABLE, rungs_of_run, with_means
from odevae.runs import AUDIT_FILE, RUN_FILE, read_json, read_predictions
from odevae.stage import stage
from odevae.tables import write_csv, write_latex, write_markdown
from odevae.tracking import mirrors_of_study

RESULTS = Path("results")


def main(config: dict, study: str, runs: dict[str, str], output) -> None:
    rows = []
    for run, fold in runs.items():
        record, audit = read_json(RESULTS / run / RUN_FILE), read_json(RESULTS / fold / AUDIT_FILE)
        rows += rungs_of_run(load_fold(RESULTS / fold), record, read_predictions(RESULTS / run), audit)
    table = with_means(rows)
    write_csv(table, Path(output.csv))
    write_markdown(table, READABLE, Path(output.md))
    write_latex(table, READABLE, Path(output.tex))
    mirrors_of_study(config, study).study(study, [output.csv, output.md, output.tex], {})
    print(Path(output.md).read_text(encoding="utf-8"), end="")


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        study=snakemake.wildcards.study,
        runs=snakemake.params.runs,
        output=snakemake.output,
    )
