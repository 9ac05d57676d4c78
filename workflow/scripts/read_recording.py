"""Read a recording file of any known format and write the canonical recording."""

from odevae.data.frames import ReadingSettings, described
from odevae.data.readers import read
from odevae.data.readers.spike_lists import read_spike_lists
from odevae.data.recording import require_covariates, save_recording
from odevae.data.spikes import BinSettings
from odevae.jobs.job_logging import log, stage
from odevae.protocols.groups import BLOCK
from odevae.protocols.unusual import unusual


def main(
    paths: list[str],
    name: str,
    units: str,
    settings: dict,
    spikes: dict | None,
    layout: dict | None,
    covariates: dict[str, list[str]],
    output: str,
) -> None:
    if spikes is None:
        recording = read(paths[0], name=name, units=units, settings=ReadingSettings.of(settings), layout=layout)
    else:
        bins = BinSettings(**{key: value for key, value in spikes.items() if key != "events"})
        recording = read_spike_lists(paths, bins, name=name, events=spikes["events"], units=units, **settings)
    for key, names in covariates.items():
        require_covariates(names, recording.covariates, f"datasets.{name}.{key}", recording.source["left_out"])
    save_recording(recording, output)
    log.info(f"{name}: {described(recording)}")
    if sentence := unusual(recording):
        log.warning(sentence)


with stage(snakemake.log[0]):
    entry = snakemake.config["datasets"][snakemake.wildcards.dataset]
    # Blocks are made from the order of the trials and need no covariate.
    grouped_by = [name for name in [entry.get("heldout", {}).get("group_by", BLOCK)] if name != BLOCK]
    main(
        paths=snakemake.params.paths,
        name=snakemake.params.name,
        units=snakemake.params.units,
        settings=snakemake.params.settings,
        spikes=snakemake.params.spikes,
        layout=snakemake.params.layout,
        # Only checked here, so they are no parameters of the rule: another colour must not read the file again.
        covariates={key: entry[key] for key in ("colour_by", "decode")} | {"heldout.group_by": grouped_by},
        output=snakemake.output[0],
    )
