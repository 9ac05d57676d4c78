# Tables and their figures, from artifacts only.


rule tabulate_study:
    input:
        runs=files_of_runs,
        audits=audits_of,
        tracked="results/mlflow/{study}.json",
        published=PUBLISHED_TABLES,
        store=STORE,
    output:
        csv=report(
            "results/tables/{study}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"study": "{study}", "what": "table"},
        ),
        md="results/tables/{study}.md",
        tex="results/tables/{study}.tex",
    log:
        "logs/tabulate_study/{study}.log",
    benchmark:
        "benchmarks/tabulate_study/{study}.tsv"
    wildcard_constraints:
        study=one_of(name for name in config["studies"] if name not in LADDERS),
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("tabulate_study.py"),
        runs=runs_of,
        published_table=lookup(dpath="{study}/published_table", within=config["studies"], default=0),
        published_rows=published_rows_for,
    script:
        "../scripts/tabulate_study.py"


rule tabulate_ladder:
    input:
        runs=files_of_runs,
        predictions=predictions_of_runs,
        trials=trials_of,
        audits=audits_of,
        tracked="results/mlflow/{study}.json",
        store=STORE,
    output:
        csv=report(
            "results/tables/{study}.csv",
            caption="../report/ladder.rst",
            category="Tables",
            labels={"study": "{study}", "what": "table"},
        ),
        md="results/tables/{study}.md",
        tex="results/tables/{study}.tex",
    log:
        "logs/tabulate_ladder/{study}.log",
    benchmark:
        "benchmarks/tabulate_ladder/{study}.tsv"
    wildcard_constraints:
        study=one_of(LADDERS),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("tabulate_ladder.py"),
        runs=runs_of,
    script:
        "../scripts/tabulate_ladder.py"


rule plot_study:
    input:
        table="results/tables/{study}.csv",
        store=STORE,
    output:
        png=report(
            "results/figures/{study}.png",
            caption="../report/study_figure.rst",
            category="Tables",
            labels={"study": "{study}", "what": "figure"},
        ),
        pdf="results/figures/{study}.pdf",
    log:
        "logs/plot_study/{study}.log",
    benchmark:
        "benchmarks/plot_study/{study}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("plot_study.py"),
        plot=plot_of,
    script:
        "../scripts/plot_study.py"


# On demand and every time: `snakemake verify`. It reads the results that are on disk, so none of them is an input, which
# would be made first. Without `benchmark`, whose file would count as an output.
rule verify:
    input:
        PUBLISHED_TABLES,
    log:
        "logs/verify.log",
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        studies=tables_of_studies,
        benchmarks=tables_of_benchmarks,
    script:
        "../scripts/verify.py"


# On demand. One data set, protocol and model a figure: trials of different ones have no common mean.
rule plot_dimensions:
    input:
        files=files_of_dimensions,
    output:
        png=report(
            f"results/figures/{SWEEP}_dimensions.png",
            caption="../report/dimensions.rst",
            category="Tables",
            labels={"study": "{study}", "what": "scores by dimension, {dataset}, {protocol}, {model}"},
        ),
        pdf=f"results/figures/{SWEEP}_dimensions.pdf",
    log:
        f"logs/plot_dimensions/{SWEEP}.log",
    benchmark:
        f"benchmarks/plot_dimensions/{SWEEP}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        code=code("plot_dimensions.py"),
        runs=runs_of_dimensions,
    script:
        "../scripts/plot_dimensions.py"
