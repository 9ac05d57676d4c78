# Models and references compared on the same held-out trials.

CELL = "{dataset}/heldout/split{split}/benchmark_models/{benchmark_model}/d{latent_dims}"


rule fit_benchmark_model:
    input:
        fold=[
            f"results/{{dataset}}/heldout/split{{split}}/neurons/{name}"
            for name in ("trials.npz", "preprocessing.json")
        ],
        recording=truth_of,
    output:
        scores=f"results/{CELL}.json",
    log:
        f"logs/fit_benchmark_model/{CELL}.log",
    benchmark:
        f"benchmarks/fit_benchmark_model/{CELL}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code_of_benchmark_model,
        place=lookup(dpath="{benchmark_model}/class", within=config["benchmark_models"]),
        decode=lookup(dpath="{dataset}/decode", within=config["datasets"]),
    script:
        "../scripts/fit_benchmark_model.py"


rule tabulate_benchmark:
    input:
        cells=cells_of,
        store=STORE,
    output:
        csv=report(
            "results/tables/{benchmark}.csv",
            caption="../report/benchmark.rst",
            category="Tables",
            labels={"study": "{benchmark}", "what": "table"},
        ),
        md="results/tables/{benchmark}.md",
        tex="results/tables/{benchmark}.tex",
    log:
        "logs/tabulate_benchmark/{benchmark}.log",
    benchmark:
        "benchmarks/tabulate_benchmark/{benchmark}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("tabulate_benchmark.py"),
        # The fits go into the record together with the table, again if the store was lost.
        stores_made=STORES_MADE,
        compare_with=lookup(dpath="{benchmark}/compare_with", within=config["benchmarks"]),
    script:
        "../scripts/tabulate_benchmark.py"


rule plot_benchmark:
    input:
        table="results/tables/{benchmark}.csv",
        store=STORE,
    output:
        folder=report(
            directory("results/figures/{benchmark}"),
            patterns=["{family}.png"],
            caption="../report/benchmark_figure.rst",
            category="Tables",
            labels={"study": "{benchmark}", "what": "figure, {family}"},
        ),
    log:
        "logs/plot_benchmark/{benchmark}.log",
    benchmark:
        "benchmarks/plot_benchmark/{benchmark}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("plot_benchmark.py"),
    script:
        "../scripts/plot_benchmark.py"
