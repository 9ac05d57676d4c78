# Tables and their figures, from artifacts only.


rule tabulate_study:
    input:
        runs=files_of_runs,
        audits=audits_of,
        tracked="results/mlflow/{study}.json",
        store=STORE_ITSELF,
        code=code("tabulate_study.py"),
    output:
        csv=report(
            "results/tables/{study}.csv", caption="../report/table.rst", category="Tables", labels={"study": "{study}"}
        ),
        md="results/tables/{study}.md",
        tex="results/tables/{study}.tex",
    log:
        "logs/tabulate_study/{study}.log",
    benchmark:
        "benchmarks/tabulate_study/{study}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        runs=runs_of,
        published_table=published_table_of,
    script:
        "../scripts/tabulate_study.py"


rule plot_study:
    input:
        table="results/tables/{study}.csv",
        code=code("plot_study.py"),
    output:
        png=report(
            "results/figures/{study}.png",
            caption="../report/study_figure.rst",
            category="Tables",
            labels={"study": "{study}"},
        ),
        pdf="results/figures/{study}.pdf",
    log:
        "logs/plot_study/{study}.log",
    benchmark:
        "benchmarks/plot_study/{study}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/plot_study.py"
