# MLflow repeats what is on disk. The store is made once, before any parallel job; the sync rules bring it up to date.

from odevae.tracking.address import OUTAGES, STORE_RECORD, check_store, redacted, store_uri, stores_made
from odevae.tracking.filesystems import mounted

try:
    # Here and not in a job, because in jobs whatever goes wrong with tracking is only a warning.
    check_store(config, mounted())
except OdevaeError as error:
    raise WorkflowError(str(error)) from None

STORE_RECORD = str(STORE_RECORD)
TRACKING_URI = store_uri(config)
STORE = ancient(STORE_RECORD)
# One more than there were if the file of an embedded store is gone: then it is made again, and the record of the studies
# asked for is completed. The file is no output of a rule, because `snakemake --delete-all-output` deletes outputs.
STORES_MADE = stores_made(TRACKING_URI, Path(STORE_RECORD))


rule create_store:
    output:
        # It also names the stores before this one.
        record=update(STORE_RECORD),
    log:
        "logs/create_store.log",
    benchmark:
        "benchmarks/create_store.tsv"
    priority: 100
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        # Snakemake keeps parameters, and an address may hold a password.
        uri=redacted(TRACKING_URI),
        stores_made=STORES_MADE,
    script:
        "../scripts/create_store.py"


rule sync_study:
    input:
        runs=files_of_runs,
        audits=audits_of,
        record=STORE_RECORD,
    output:
        ids="results/mlflow/{study}.json",
        # Kept from call to call, because it counts.
        outages=update(OUTAGES),
    log:
        "logs/sync_study/{study}.log",
    benchmark:
        "benchmarks/sync_study/{study}.tsv"
    localrule: True
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
        stores_made=STORES_MADE,
    script:
        "../scripts/sync_study.py"


# Repeat in the store whatever is on disk now, finished or not: `snakemake sync`. Without `benchmark`, whose file would
# count as an output, and what has its outputs does not run again.
rule sync:
    input:
        store=STORE_RECORD,
    log:
        "logs/sync.log",
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    script:
        "../scripts/sync.py"
