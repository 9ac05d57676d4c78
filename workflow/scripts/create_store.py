"""Make the tracking store before any parallel job could, and note which one it is."""

from pathlib import Path

from odevae.jobs.job_logging import stage
from odevae.storage.files import read_json, write_json
from odevae.tracking import make_store
from odevae.tracking.address import new_store_record, store_uri


def main(config: dict, record: Path, made: int) -> None:
    previous = read_json(record) if record.exists() else {}
    content = new_store_record(previous, store_uri(config), Path.cwd().name, made)
    write_json(record, content)
    write_json(record, content | {"working": make_store(config)})


with stage(snakemake.log[0]):
    main(snakemake.config, Path(snakemake.output.record), snakemake.params.stores_made)
