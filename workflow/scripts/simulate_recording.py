"""Simulate a recording with known latents and write the canonical recording."""

from dataclasses import replace

from odevae.data.recording import require_covariates, save_recording
from odevae.data.simulate import simulate
from odevae.jobs.job_logging import log, stage


def main(kind: str, settings: dict, name: str, colour_by: list[str], output: str) -> None:
    recording = simulate(kind, **settings)
    require_covariates(colour_by, recording.covariates, f"datasets.{name}.colour_by")
    save_recording(replace(recording, source=recording.source | {"name": name}), output)
    log.info(
        f"{name}: {recording.n_neurons} neurons, {recording.n_frames} frames, {len(recording.trial_ids)} trials, "
        f"{recording.latents.shape[1]} latent dimensions"
    )


with stage(snakemake.log[0]):
    main(
        kind=snakemake.params.kind,
        settings=snakemake.params.settings,
        name=snakemake.params.name,
        # Only checked here, so it is no parameter of the rule: another colour needs no new simulation.
        colour_by=snakemake.config["datasets"][snakemake.wildcards.dataset]["colour_by"],
        output=snakemake.output[0],
    )
