"""Simulate a recording with known latents and write the canonical recording."""

from dataclasses import replace

from odevae.recording import save_recording
from odevae.simulate import simulate
from odevae.stage import stage


def main(kind: str, settings: dict, name: str, output: str) -> None:
    recording = simulate(kind, **settings)
    save_recording(replace(recording, source=recording.source | {"name": name}), output)
    print(
        f"{name}: {recording.n_neurons} neurons, {recording.n_frames} frames, {len(recording.trial_ids)} trials, "
        f"{recording.latents.shape[1]} latent dimensions"
    )


with stage(snakemake.log[0]):
    main(
        kind=snakemake.params.kind,
        settings=snakemake.params.settings,
        name=snakemake.params.name,
        output=snakemake.output[0],
    )
