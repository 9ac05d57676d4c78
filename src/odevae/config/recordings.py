"""The public recordings: the one place that knows their addresses and how their files are read."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from odevae.errors import OdevaeError


@cache
def _all() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(Path(__file__).with_name("recordings.yaml").read_text(encoding="utf-8"))


def public_recordings() -> list[str]:
    """Their names."""
    return list(_all())


def public_recording(name: str) -> dict[str, Any]:
    """What is known of a public recording, as keys of a data set: ``fetch``, ``spikes``, ``units`` and so on."""
    return deepcopy(_all()[name])


def fill_in_recordings(config: dict) -> None:
    """Put what is known of a public recording in place of its name, wherever a data set has the key ``recording``.

    The other keys of the data set take precedence.

    Raises:
        OdevaeError: for a name that is not known, and for a data set that names other files too.
    """
    datasets = config.get("datasets")
    for dataset, entry in datasets.items() if isinstance(datasets, dict) else ():
        # The schema refuses what is no mapping.
        if not isinstance(entry, dict) or "recording" not in entry:
            continue
        name = entry.pop("recording")
        if name not in public_recordings():
            raise OdevaeError(
                f"config: datasets.{dataset}.recording: there is no public recording {name!r}; known: "
                f"{', '.join(public_recordings())}."
            )
        if {"file", "fetch", "simulate"} & set(entry):
            raise OdevaeError(f"config: datasets.{dataset} needs exactly one of file, fetch, recording and simulate.")
        entry.update(public_recording(name) | entry)
