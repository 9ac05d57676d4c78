#!/usr/bin/env bash
# Installs odevae into the active conda environment, and never into another one; ODEVAE_PROJECT is the Snakefile's folder.
set -euo pipefail
"${CONDA_PREFIX}/bin/python" -m pip install --quiet \
    --constraint "${ODEVAE_PROJECT}/envs/constraints.txt" --editable "${ODEVAE_PROJECT}[cluster]"
