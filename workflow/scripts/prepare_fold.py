"""Make a fold of a recording by one of the protocols, and count what could make its scores wrong."""

from pathlib import Path

from odevae.data.recording import load_recording
from odevae.jobs.job_logging import log, stage
from odevae.protocols.audit import audit
from odevae.protocols.fold import save_fold, with_events
from odevae.protocols.recipes import make_fold
from odevae.storage.files import write_json
from odevae.storage.run_folder import AUDIT_FILE
from odevae.tracking import mirrors_of_fold


def main(
    recording_file: str,
    protocol: str,
    observations: str,
    split: int,
    settings: dict,
    grouping: dict,
    events: str,
    folder: Path,
) -> None:
    recording = load_recording(recording_file)
    fold = make_fold(protocol, recording, observations, split, settings)
    fold = with_events(fold, recording.activity, events or None)
    findings = audit(fold, recording, **grouping)
    write_json(folder / AUDIT_FILE, findings | {"fold_sha256": save_fold(fold, folder)})
    log.info(
        f"{folder}: {len(fold.raw)} trials, {fold.preprocessor.n_channels} channels, "
        f"{findings['training_sequences']} sequences to train on, {findings['scored_sequences']} scored, "
        f"{findings['shared_trials']:.0%} of them share their trial with training, "
        + (f"{findings['shared_groups']:.0%} their {findings['group_by']}, " if findings["group_by"] else "")
        + f"{findings['padded_fraction']:.0%} of the scored bins are padding; events are {findings['events']} "
        f"({findings['zero_fraction']:.1%} zeros{'' if events else ', found from the data'}), smoothed over "
        f"{findings['kernel_frames']} frames"
    )


with stage(snakemake.log[0]):
    folder = Path(snakemake.output.audit).parent
    main(
        recording_file=snakemake.input.recording,
        protocol=snakemake.params.protocol,
        observations=snakemake.params.observations,
        split=int(snakemake.params.split),
        settings=snakemake.params.settings,
        grouping=snakemake.params.grouping,
        events=snakemake.params.events,
        folder=folder,
    )
    name = folder.relative_to("results").as_posix()
    mirrors_of_fold(snakemake.config, name).fold(folder, name)
