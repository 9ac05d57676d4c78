# A lab's own recording: `snakemake new --cores 2 --config new_recording=data/mouse7.mat`, or `make new RECORDING=...`.


# On demand and every time, without `benchmark`, whose file would count as an output: it only shows what the inputs hold.
rule new:
    input:
        table=table_of_new_recording,
        page=page_of_new_recording,
    log:
        "logs/new.log",
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        own=str(OWN_CONFIG),
        settings=settings_of_new_recording,
    script:
        "../scripts/new.py"
