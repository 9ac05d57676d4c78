"""Print what a recording holds, and the lines of the configuration that read it."""

from odevae.data.readers.inspection import inspected
from odevae.errors import OdevaeError
from odevae.jobs.job_logging import log, stage

with stage(snakemake.log[0]):
    if not snakemake.params.path:
        raise OdevaeError("inspect needs a recording: snakemake --config recording=PATH --cores 1 inspect.")
    log.info(inspected(snakemake.params.path))
