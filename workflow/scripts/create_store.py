"""Make the tracking store before any parallel job could."""

from datetime import UTC, datetime
from pathlib import Path

from odevae.runs import write_json
from odevae.stage import stage
from odevae.tracking import mirrors_of_study


def main(config: dict, record: Path, file: str | None) -> None:
    working = all([mirrors_of_study(config, study).working for study in config["studies"]])
    if file and not working:
        # Tracking stops no stage: later jobs try again, and the rules that wait for this file go on.
        Path(file).touch()
    write_json(record, {"uri": config["tracking"]["uri"], "made_at": datetime.now(UTC).isoformat(), "working": working})


with stage(snakemake.log[0]):
    main(snakemake.config, Path(snakemake.output.record), snakemake.output.get("file"))
