from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/tracking.smk"
include: "workflow/rules/recordings.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/benchmarks.smk"
include: "workflow/rules/pages.smk"
include: "workflow/rules/new_recording.smk"


rule all:
    default_target: True
    input:
        expand("results/tables/{study}.csv", study=config["studies"]),
        expand("results/figures/{study}.png", study=config["studies"]),
