"""What the configuration says of the trials of a continuous session, checked."""

from odevae.errors import OdevaeError

# Where trials can come from, and the keys that each of these may have with it.
SOURCES = {
    "table": ("unit",),
    "intervals": (),
    "covariate": ("threshold", "duration_s"),
    "window_s": ("gap_s",),
}
# Held out one by one, windows would be predicted from the windows before and after them.
GROUP_BY_OF_WINDOWS = "block"


def check_trials(config: dict, dataset: str) -> None:
    """Refuse ``trials`` of a data set that do not say one thing; hold windows out in blocks if nothing else is said.

    Raises:
        OdevaeError: if there is not one source, a key belongs to another one, or the file's own trials have settings.
    """
    entry = config["datasets"][dataset]
    trials, where = entry.get("trials"), f"datasets.{dataset}.trials"
    if trials is None:
        return
    given = [key for key in SOURCES if key in trials]
    if len(given) != 1:
        raise OdevaeError(
            f"config: {where} gives {' and '.join(given) or 'no source'}; give exactly one of {', '.join(SOURCES)}."
        )
    source = given[0]
    if strange := [key for key in trials if key != source and key not in SOURCES[source]]:
        raise OdevaeError(
            f"config: {where}.{strange[0]} does not go with {source}; "
            f"{f'{source} goes with ' + ' and '.join(SOURCES[source]) if SOURCES[source] else 'remove it'}."
        )
    for key in ("no_trial", "renumber_trials"):
        if key in entry:
            raise OdevaeError(
                f"config: datasets.{dataset}.{key} is for the Trial of the file, which {where} replaces; remove one of "
                "them."
            )
    if source == "window_s":
        entry.setdefault("heldout", {}).setdefault("group_by", GROUP_BY_OF_WINDOWS)
