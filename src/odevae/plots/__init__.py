"""Figures of a run and of a study. Each function takes arrays or rows and returns a Matplotlib ``Figure``."""

from odevae.plots.curves import R2_VIEW, learning_curves
from odevae.plots.dimensions import scores_by_dimension
from odevae.plots.errors import error_over_time, neuron_scores, trial_errors
from odevae.plots.heatmaps import activity_heatmaps, error_heatmap
from odevae.plots.interactive import interactive_manifold, rotating_manifold
from odevae.plots.ladder import audit_ladder
from odevae.plots.latents import latent_dimensions, vector_field
from odevae.plots.manifolds import latent_tsne, manifold_of_trial, manifold_of_trials, manifold_pca
from odevae.plots.neurons import example_neurons, most_active, worst_neurons
from odevae.plots.study import SCORE_FLOOR, SCORES, seed_sweep
from odevae.plots.style import message, save
