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
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=30,
    params:
        url=url_of,
        sha256=sha256_of,
    script:
        "../scripts/fetch_data.py"


rule read_recording:
    input:
        file=file_of,
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
        units=units_of,
        settings=reading_of,
    script:
        "../scripts/read_recording.py"


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
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("simulate_recording.py"),
        name="{dataset}",
        kind=simulation_of,
        settings=simulation_settings_of,
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
    script:
        "../scripts/prepare_fold.py"
