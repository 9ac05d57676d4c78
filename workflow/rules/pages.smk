# One web page for each study and benchmark, to read and to pass on: `snakemake results/report/seed_sweep.html`.


rule write_study_page:
    input:
        table="results/tables/{study}.csv",
        figure="results/figures/{study}.png",
        templates=PAGE_TEMPLATES,
        runs=files_of_runs,
        figures=figures_of_runs,
        predictions=predictions_of_runs,
        trials=trials_of,
        audits=audits_of,
    output:
        "results/report/{study}.html",
    log:
        "logs/write_study_page/{study}.log",
    benchmark:
        "benchmarks/write_study_page/{study}.tsv"
    wildcard_constraints:
        study=one_of(name for name in config["studies"] if name not in LADDERS),
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        code=code("write_study_page.py"),
        runs=runs_of,
        settings=lookup(dpath="{study}", within=config["studies"]),
        options=CONFIG_OPTIONS,
        colour_by=colours_of_study,
    script:
        "../scripts/write_study_page.py"


rule write_ladder_page:
    input:
        table="results/tables/{study}.csv",
        figure="results/figures/{study}.png",
        templates=PAGE_TEMPLATES,
        runs=records_of_runs,
        audits=audits_of,
    output:
        "results/report/{study}.html",
    log:
        "logs/write_ladder_page/{study}.log",
    benchmark:
        "benchmarks/write_ladder_page/{study}.tsv"
    wildcard_constraints:
        study=one_of(LADDERS),
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("write_ladder_page.py"),
        settings=lookup(dpath="{study}", within=config["studies"]),
        options=CONFIG_OPTIONS,
    script:
        "../scripts/write_ladder_page.py"


rule write_benchmark_page:
    input:
        table="results/tables/{benchmark}.csv",
        figures="results/figures/{benchmark}",
        templates=PAGE_TEMPLATES,
        audits=audits_of_benchmark,
    output:
        "results/report/{benchmark}.html",
    log:
        "logs/write_benchmark_page/{benchmark}.log",
    benchmark:
        "benchmarks/write_benchmark_page/{benchmark}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("write_benchmark_page.py"),
        settings=lookup(dpath="{benchmark}", within=config["benchmarks"]),
        options=CONFIG_OPTIONS,
    script:
        "../scripts/write_benchmark_page.py"
