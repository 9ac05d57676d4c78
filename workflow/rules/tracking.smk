# MLflow repeats what is on disk. The store is made once, before any parallel job; the sync rules bring it up to date.

from odevae.tracking.address import OUTAGES, STORE_RECORD, check_store, redacted, store_uri
from odevae.tracking.filesystems import mounted

try:
    # Here and not in a job, because in jobs whatever goes wrong with tracking is only a warning.
    check_store(config, mounted())
except OdevaeError as error:
    raise WorkflowError(str(error)) from None

STORE_RECORD = str(STORE_RECORD)
TRACKING_URI = store_uri(config)
# The file of an embedded store changes with every write, so nothing may rerun because it is newer.
STORE_FILE = TRACKING_URI.removeprefix("sqlite:///") if TRACKING_URI.startswith("sqlite:///") else None
STORE = ancient(STORE_RECORD)
STORE_ITSELF = [ancient(path) for path in (STORE_RECORD, STORE_FILE) if path]


rule create_store:
    output:
        # It also names the stores before this one.
        record=update(STORE_RECORD),
        # Never removed before the job: runs of other projects may be in it.
        file=update(STORE_FILE) if STORE_FILE else [],
    log:
        "logs/create_store.log",
    benchmark:
        "benchmarks/create_store.tsv"
    priority: 100
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        # Snakemake keeps parameters, and an address may hold a password.
        uri=redacted(TRACKING_URI),
    script:
        "../scripts/create_store.py"


rule sync_study:
    input:
        runs=files_of_runs,
        audits=audits_of,
        record=STORE_RECORD,
        store=STORE_ITSELF,
    output:
        ids="results/mlflow/{study}.json",
        # Kept from call to call, because it counts.
        outages=update(OUTAGES),
    log:
        "logs/sync_study/{study}.log",
    benchmark:
        "benchmarks/sync_study/{study}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        runs=runs_of,
        folds=folds_of,
        # Changes with every outage, so that the next call tries again.
        outages=outages_so_far,
    script:
        "../scripts/sync_study.py"


# Repeat in the store whatever is on disk now, finished or not: `snakemake sync`. Without `benchmark`, whose file would
# count as an output, and what has its outputs does not run again.
rule sync:
    input:
        store=STORE_ITSELF,
    log:
        "logs/sync.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    script:
        "../scripts/sync.py"
