"""A data set of the configuration read from its file."""

from dataclasses import fields

from odevae.config.studies import data_files
from odevae.data.frames import ReadingSettings
from odevae.data.readers import read
from odevae.data.readers.spike_lists import read_spike_lists
from odevae.data.recording import Recording, require_covariates
from odevae.data.spikes import BinSettings
from odevae.protocols.groups import BLOCK

READING_SETTINGS = [field.name for field in fields(ReadingSettings)]


def read_entry(config: dict, name: str) -> Recording:
    """The recording of a data set, as the rule read_recording reads it, with the covariates that its entry names.

    Raises:
        OdevaeError: if there is no such file, it is no recording, or it lacks a covariate.
    """
    entry, files = config["datasets"][name], data_files(config, name)
    settings = {key: entry[key] for key in READING_SETTINGS if key in entry}
    if "spikes" in entry:
        bins = BinSettings(**{key: value for key, value in entry["spikes"].items() if key != "events"})
        events = entry["spikes"]["events"]
        recording = read_spike_lists(files, bins, name=name, events=events, units=entry["units"], **settings)
    else:
        recording = read(
            files[0], name=name, units=entry["units"], settings=ReadingSettings.of(settings), layout=entry.get("read")
        )
    grouped_by = [group for group in [entry.get("heldout", {}).get("group_by", BLOCK)] if group != BLOCK]
    for key, names in {
        "colour_by": entry["colour_by"],
        "decode": entry["decode"],
        "heldout.group_by": grouped_by,
    }.items():
        require_covariates(names, recording.covariates, f"datasets.{name}.{key}", recording.source["left_out"])
    return recording
