# From a file or a simulation to the canonical recording, and from there to folds.


rule fetch_data:
    output:
        "data/{dataset}/{file}",
    log:
        "logs/fetch_data/{dataset}/{file}.log",
    benchmark:
        "benchmarks/fetch_data/{dataset}/{file}.tsv"
    wildcard_constraints:
        dataset=one_of(FETCHED),
        file="[^/]+",
    priority: 100
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=30,
    params:
        download=download_of,
    script:
        "../scripts/fetch_data.py"


rule read_recording:
    input:
        files=files_of,
        trial_tables=trial_tables_of,
    output:
        "results/{dataset}/recording.npz",
    log:
        "logs/read_recording/{dataset}.log",
    benchmark:
        "benchmarks/read_recording/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(RECORDED),
    priority: 100
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        code=code("read_recording.py"),
        name="{dataset}",
        units=lookup(dpath="{dataset}/units", within=config["datasets"]),
        settings=reading_of,
        spikes=spikes_of,
        paths=paths_of,
        layout=layout_of,
    script:
        "../scripts/read_recording.py"


# What a file holds, and the lines of the configuration that read it: `snakemake --cores 1 --config recording=PATH inspect`.
# Without `benchmark`, whose file would count as an output, and what has its outputs does not run again.
rule inspect:
    input:
        files=inspected_files,
    log:
        "logs/inspect.log",
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        path=config.get("recording", ""),
    script:
        "../scripts/inspect.py"


rule simulate_recording:
    output:
        "results/{dataset}/recording.npz",
    log:
        "logs/simulate_recording/{dataset}.log",
    benchmark:
        "benchmarks/simulate_recording/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(SIMULATED),
    priority: 100
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("simulate_recording.py"),
        name="{dataset}",
        kind=lookup(dpath="{dataset}/simulate/kind", within=config["datasets"]),
        settings=lookup(dpath="{dataset}/simulate/settings", within=config["datasets"]),
    script:
        "../scripts/simulate_recording.py"


rule prepare_fold:
    input:
        recording="results/{dataset}/recording.npz",
        store=STORE,
    output:
        trials=f"results/{FOLD}/trials.npz",
        preprocessing=f"results/{FOLD}/preprocessing.json",
        audit=f"results/{FOLD}/audit.json",
    log:
        f"logs/prepare_fold/{FOLD}.log",
    benchmark:
        f"benchmarks/prepare_fold/{FOLD}.tsv"
    priority: 90
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        code=code("prepare_fold.py"),
        protocol="{protocol}",
        observations="{observations}",
        split="{split}",
        settings=settings_of,
        grouping=grouping_of,
        events=lookup(dpath="{dataset}/events", within=config["datasets"], default=""),
    script:
        "../scripts/prepare_fold.py"
