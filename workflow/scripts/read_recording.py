"""Read a recording file of any known format and write the canonical recording."""

from odevae.data.readers import read
from odevae.data.recording import require_covariates, save_recording
from odevae.jobs.job_logging import stage


def main(file: str, name: str, units: str, colour_by: list[str], output: str) -> None:
    recording = read(file, name=name, units=units)
    require_covariates(colour_by, recording.covariates, f"config: datasets.{name}.colour_by")
    save_recording(recording, output)
    print(
        f"{name}: {recording.n_neurons} neurons, {recording.n_frames} frames, {len(recording.trial_ids)} trials, "
        f"{len(recording.covariates)} covariates"
    )


with stage(snakemake.log[0]):
    main(
        file=snakemake.input.file,
        name=snakemake.params.name,
        units=snakemake.params.units,
        # Only checked here, so it is no parameter of the rule: with another colour the file is not read again.
        colour_by=snakemake.config["datasets"][snakemake.wildcards.dataset]["colour_by"],
        output=snakemake.output[0],
    )
