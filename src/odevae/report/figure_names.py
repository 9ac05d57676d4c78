"""Names of the figures of a run, for the workflow, which must know its files before they are drawn."""

import hashlib
import re

# Drawn for every run: what a reader needs to judge it.
FIGURES = ("learning_curves", "manifold_trials", "example_neurons", "activity_heatmaps")

# Drawn when their file is asked for.
MORE_FIGURES = (
    "manifold_trial",
    "manifold_pca",
    "latent_dimensions",
    "vector_field",
    "latent_tsne",
    "worst_neurons",
    "neuron_scores",
    "error_heatmap",
    "error_over_time",
    "trial_errors",
)

# Folder of the manifolds that are coloured by covariates, in the folder of the other figures; they depend on the data
# set, and are drawn for every run too.
BY_COVARIATE = "by_covariate"


def manifold_by(covariate: str) -> str:
    """Name of the manifold that a covariate colours; characters that a file name should not hold become hyphens.

    Then the name ends in a digest of the covariate's name, because several covariates could get the same file name.
    """
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", covariate)
    digest = "" if plain == covariate else f"-{hashlib.sha256(covariate.encode()).hexdigest()[:8]}"
    return f"manifold_trials_{plain}{digest}"
