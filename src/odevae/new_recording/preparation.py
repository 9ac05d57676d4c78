"""From the path of a recording to its checked configuration, before anything runs.

The file is written once and then belongs to the user. If a recording cannot be read without a key, such as the unit of
its time, a draft is written that lists the keys; the next call completes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from odevae.benchmark.grid import left_out
from odevae.config.schema import check_config
from odevae.config.studies import data_files, protocol_settings
from odevae.data.frames import described
from odevae.data.readers.recognition import recognise
from odevae.errors import OdevaeError
from odevae.new_recording.config_text import config_text, draft_text
from odevae.new_recording.own_config import CONFIG, merged, name_of, own_config
from odevae.new_recording.reading import read_entry
from odevae.new_recording.study import check_study, choose_study, make_folds
from odevae.protocols.unusual import unusual
from odevae.storage.files import write_bytes

# Keys that a file may need and not show, and how to give them.
HOW_TO_GIVE = {
    "read.rate_hz": "the frames in a second, such as read: {..., rate_hz: 30}",
    "read.time": "the variable with the time of each frame, such as read: {..., time: t}",
    "trials": "where trials begin and end, such as trials: {table: trials.csv}, with columns start and stop in seconds",
}


@dataclass(frozen=True)
class Prepared:
    """A recording that can be used.

    Attributes:
        name: of its benchmark, and so of its table and page.
        notes: sentences for the user.
    """

    name: str
    notes: tuple[str, ...]


def prepare(recording: str, shipped: dict, schema: dict) -> Prepared:
    """Write and check the configuration of a recording, or check the one that is there.

    Args:
        recording: path of the file.
        shipped: the configuration to which `CONFIG` adds, as it was written.
        schema: of the configuration.

    Raises:
        OdevaeError: for anything that would end the study later, in one sentence with its remedy.
    """
    file = str(Path(recording).expanduser()) if recording else ""
    if not file:
        raise OdevaeError("no recording is given; name its file: make new RECORDING=data/mouse7.mat")
    own = own_config(file)
    if own and own.get("benchmarks"):
        return _checked(own, shipped, schema)
    recognised = recognise(file)
    if own:
        name, entry = next(iter(own["datasets"].items()))
    else:
        taken = [name for section in ("datasets", "studies", "benchmarks") for name in shipped.get(section, {})]
        name, entry = name_of(file, taken), recognised.entry
    if lacking := [how for key, how in HOW_TO_GIVE.items() if key in recognised.missing and not _has(entry, key)]:
        problem = f"{file}: the file does not show all that is needed; give {'; and '.join(lacking)}."
        raise _drafted(name, entry, schema, recognised.notes, problem)
    return _written(name, entry, recognised.notes, shipped, schema)


def _has(entry: dict, key: str) -> bool:
    """Whether an entry of a data set has a key, or the other one that says the same."""
    read = entry.get("read", {})
    others = {"trials": "trials" in entry, "read.rate_hz": "rate_hz" in read or "time" in read}
    return others.get(key, key.removeprefix("read.") in read)


def _drafted(name: str, entry: dict, schema: dict, understood: Sequence[str], problem: str) -> OdevaeError:
    """Write what is known, with an example of each key, and give the error to raise."""
    write_bytes(CONFIG, draft_text(name, entry, schema, understood, problem).encode())
    return OdevaeError(f"{problem} What is known is in {CONFIG}, for you to complete; then call this again.")


def _written(name: str, entry: dict, understood: Sequence[str], shipped: dict, schema: dict) -> Prepared:
    """Choose the study of a data set and write it, or write a draft and raise what is wrong."""
    own = {"datasets": {name: entry}}
    config = check_config(merged(shipped, own), schema)
    try:
        recording = read_entry(config, name)
        protocol = protocol_settings(config, name, "heldout")
        study = choose_study(recording, entry, protocol, config["benchmark_models"])
    except OdevaeError as error:
        if f"datasets.{name}." not in str(error) and " read." not in str(error):
            raise
        raise _drafted(name, entry, schema, understood, str(error)) from error
    text = config_text(name, entry, schema, understood, recording, study)
    check_config(merged(shipped, yaml.safe_load(text)), schema)
    write_bytes(CONFIG, text.encode())
    said = [f"{name}: {described(recording)}.", *filter(None, [unusual(recording)]), *study.notes]
    return Prepared(name, (*said, f"Written: {CONFIG}, which says all this."))


def _checked(own: dict, shipped: dict, schema: dict) -> Prepared:
    """Check a configuration that is there, with the recording that it is about."""
    config = check_config(merged(shipped, own), schema)
    benchmark = next(iter(own["benchmarks"]))
    settings = config["benchmarks"][benchmark]
    for name, latent_dims in settings["datasets"].items():
        if not data_files(config, name):
            continue
        recording = read_entry(config, name)
        folds = make_folds(recording, protocol_settings(config, name, "heldout"), settings["splits"])
        check_study(recording, folds, latent_dims, config["datasets"][name]["decode"])
    notes = f"{CONFIG} is there and is used as it is; delete or rename it to have it written again."
    return Prepared(benchmark, (notes, *left_out(config, benchmark)))
