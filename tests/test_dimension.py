from dataclasses import replace

import numpy as np
import pytest
from test_shipped_models import TRAIN, VALIDATION

from odevae.benchmark.dimension import intrinsic_dimension, shift_neurons
from odevae.benchmark.models.manifold.isomap import Isomap


def test_neurons_that_are_shift_neurons_keep_all_but_each_other():
    shifted = shift_neurons(TRAIN)
    frames, moved = TRAIN.values[TRAIN.recorded], shifted.values[TRAIN.recorded]
    for one, other in zip(frames.T, moved.T, strict=True):
        shift = next(s for s in range(len(one)) if np.array_equal(np.roll(one, s), other))
        assert np.array_equal(np.roll(one, shift), other)
    assert not shifted.values[~TRAIN.recorded].any()
    together = np.abs(np.corrcoef(frames.T)[np.triu_indices(frames.shape[1], 1)]).mean()
    apart = np.abs(np.corrcoef(moved.T)[np.triu_indices(frames.shape[1], 1)]).mean()
    assert apart < 0.7 * together


def test_a_plane_is_told_from_its_shifted_neurons():
    """Neurons that see two numbers lie on a plane; shifted apart they fill more dimensions."""
    generator = np.random.default_rng(0)
    latents = generator.random((*TRAIN.mask.shape, 2))
    plane = replace(TRAIN, values=np.where(TRAIN.mask[..., None], latents @ generator.random((2, 8)), 0))

    def fit(train, validation):
        model = Isomap(latent_dim=2, seed=0)
        model.fit(train, validation)
        return model

    found = intrinsic_dimension(fit(plane, VALIDATION), fit, plane, VALIDATION)
    assert found["correlation_dimension"] == pytest.approx(2, abs=0.4)
    assert found["null_mean"] > found["correlation_dimension"] + 0.5
    assert found["n_values"] == TRAIN.recorded.sum()
