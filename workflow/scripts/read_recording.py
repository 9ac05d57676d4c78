"""Read a recording file of any known format and write the canonical recording."""

from odevae.data.frames import ReadingSettings, described
from odevae.data.readers import read
from odevae.data.recording import require_covariates, save_recording
from odevae.jobs.job_logging import log, stage


def main(file: str, name: str, units: str, settings: dict, covariates: dict[str, list[str]], output: str) -> None:
    recording = read(file, name=name, units=units, settings=ReadingSettings(**settings))
    for key, names in covariates.items():
        require_covariates(names, recording.covariates, f"datasets.{name}.{key}", recording.source["left_out"])
    save_recording(recording, output)
    log.info(f"{name}: {described(recording)}")


with stage(snakemake.log[0]):
    entry = snakemake.config["datasets"][snakemake.wildcards.dataset]
    main(
        file=snakemake.input.file,
        name=snakemake.params.name,
        units=snakemake.params.units,
        settings=snakemake.params.settings,
        # Only checked here, so they are no parameters of the rule: another colour must not read the file again.
        covariates={key: entry[key] for key in ("colour_by", "decode")},
        output=snakemake.output[0],
    )
