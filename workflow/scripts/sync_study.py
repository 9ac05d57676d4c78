"""Bring the record of one study in MLflow up to date with the disk and note the run ids."""

from pathlib import Path

from odevae.runs import write_json
from odevae.stage import stage
from odevae.tracking import mirrors_of_study


def main(config: dict, study: str, runs: list[str], folds: list[str], output: Path) -> None:
    mirrors = mirrors_of_study(config, study)
    for fold in folds:
        mirrors.preprocessing(Path("results") / fold, fold)
    ids = {run: mirrors.run(Path("results") / run).get(study, "") for run in runs}
    write_json(output, ids)
    print(f"{study}: {sum(map(bool, ids.values()))} of {len(ids)} runs are in {config['tracking']['uri']}")


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        study=snakemake.wildcards.study,
        runs=snakemake.params.runs,
        folds=snakemake.params.folds,
        output=Path(snakemake.output[0]),
    )
