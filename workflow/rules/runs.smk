# One run: train, evaluate, draw. All three write into the run's folder.


rule train_model:
    input:
        fold=fold_of,
        store=STORE,
    output:
        run=f"results/{RUN}/run.json",
        history=f"results/{RUN}/history.csv",
        checkpoint=f"results/{RUN}/checkpoint.pt",
    log:
        f"logs/train_model/{RUN}.log",
    benchmark:
        f"benchmarks/train_model/{RUN}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        code=code("train_model.py"),
        spec=spec_of,
    script:
        "../scripts/train_model.py"


rule evaluate_run:
    input:
        fold=fold_of,
        run=f"results/{RUN}/run.json",
        checkpoint=f"results/{RUN}/checkpoint.pt",
        store=STORE,
    output:
        metrics=f"results/{RUN}/metrics.json",
        predictions=f"results/{RUN}/predictions.npz",
    log:
        f"logs/evaluate_run/{RUN}.log",
    benchmark:
        f"benchmarks/evaluate_run/{RUN}.tsv"
    priority: 10
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("evaluate_run.py"),
    script:
        "../scripts/evaluate_run.py"


rule plot_run:
    input:
        fold=fold_of,
        run=f"results/{RUN}/run.json",
        history=f"results/{RUN}/history.csv",
        predictions=f"results/{RUN}/predictions.npz",
        store=STORE,
    output:
        report(
            [f"results/{RUN}/figures/{name}.png" for name in FIGURES],
            caption="../report/run_figures.rst",
            category="Runs",
            subcategory="{dataset}, {protocol}, split {split}",
            labels={"model": "{model}", "d": "{latent_dim}", "seed": "{seed}"},
        ),
        directory(f"results/{RUN}/figures/{BY_COVARIATE}"),
        manifold=f"results/{RUN}/manifold.json",
    log:
        f"logs/plot_run/{RUN}.log",
    benchmark:
        f"benchmarks/plot_run/{RUN}.tsv"
    priority: 10
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("plot_run.py"),
        colour_by=colour_of,
    script:
        "../scripts/plot_run.py"


# On demand: `snakemake results/<run>/figures/neuron_scores.png`, or the PDF of any figure.
rule draw_run_figure:
    input:
        fold=fold_of,
        run=f"results/{RUN}/run.json",
        history=f"results/{RUN}/history.csv",
        checkpoint=f"results/{RUN}/checkpoint.pt",
        predictions=f"results/{RUN}/predictions.npz",
        store=STORE,
    output:
        f"results/{RUN}/figures/{{figure}}",
    log:
        f"logs/draw_run_figure/{RUN}/{{figure}}.log",
    benchmark:
        f"benchmarks/draw_run_figure/{RUN}/{{figure}}.tsv"
    wildcard_constraints:
        figure=rf"({'|'.join(MORE_FIGURES)})\.png|({'|'.join([*FIGURES, *MORE_FIGURES])}|manifold_trials_[\w-]+)\.pdf",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        code=code("draw_run_figure.py"),
        colour_by=colour_of,
    script:
        "../scripts/draw_run_figure.py"


# On demand, 5 MB each: `snakemake results/<run>/figures/manifold_trials.html`.
rule draw_interactive_manifold:
    input:
        fold=fold_of,
        run=f"results/{RUN}/run.json",
        predictions=f"results/{RUN}/predictions.npz",
    output:
        f"results/{RUN}/figures/manifold_trials.html",
    log:
        f"logs/draw_interactive_manifold/{RUN}.log",
    benchmark:
        f"benchmarks/draw_interactive_manifold/{RUN}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        code=code("draw_interactive_manifold.py"),
        colour_by=colour_of,
    script:
        "../scripts/draw_interactive_manifold.py"
