"""Print what a recording holds, and the lines of the configuration that read it."""

from odevae.data.readers.inspection import inspected
from odevae.jobs.job_logging import log, stage

with stage(snakemake.log[0]):
    log.info(inspected(snakemake.params.path))
