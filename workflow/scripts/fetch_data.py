"""Fetch one data file and check its SHA-256."""

import os
from pathlib import Path

from odevae.data.download import fetch
from odevae.jobs.job_logging import log, stage


def main(url: str, sha256: str, output: str, folder: str | None) -> None:
    fetch(url, sha256, output, folder=folder)
    log.info(f"{output}: {Path(output).stat().st_size} bytes from {folder or url}, SHA-256 {sha256}")


with stage(snakemake.log[0]):
    main(
        **snakemake.params.download,
        output=snakemake.output[0],
        # Where the network is closed, this folder holds the files.
        folder=os.environ.get("ODEVAE_DATA_DIR") or None,
    )
