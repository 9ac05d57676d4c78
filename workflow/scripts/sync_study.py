"""Bring the record of one study in MLflow up to date with the disk and note the run ids."""

from pathlib import Path

from odevae.jobs.job_logging import log, stage
from odevae.storage.files import write_bytes, write_json
from odevae.tracking import mirrors_of_studies
from odevae.tracking.address import redacted, store_uri


def main(config: dict, study: str, runs: list[str], folds: list[str], outages: int, output) -> None:
    mirrors = mirrors_of_studies(config, study)
    for fold in folds:
        mirrors.fold(Path("results") / fold, fold)
    ids = {run: mirrors.run(Path("results") / run).get(study, "") for run in runs}
    mirrors.keep(study, [*folds, *runs])
    complete = mirrors.working and all(ids.values())
    write_bytes(output.outages, f"{outages if complete else outages + 1}\n".encode())
    write_json(output.ids, ids)
    log.info(f"{study}: {sum(map(bool, ids.values()))} of {len(ids)} runs are in {redacted(store_uri(config))}")


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        study=snakemake.wildcards.study,
        runs=snakemake.params.runs,
        folds=snakemake.params.folds,
        outages=snakemake.params.outages,
        output=snakemake.output,
    )
