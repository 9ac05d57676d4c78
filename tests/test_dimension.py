from dataclasses import replace

import numpy as np
import pytest
from conftest import fitted
from test_shipped_models import TRAIN, VALIDATION

from odevae.benchmark.dimension import intrinsic_dimension, shift_neurons
from odevae.benchmark.models.manifold.isomap import Isomap


def test_shifted_neurons_keep_their_values_and_lose_their_correlations():
    shifted = shift_neurons(TRAIN)
    frames, moved = TRAIN.values[TRAIN.recorded], shifted.values[TRAIN.recorded]
    for one, other in zip(frames.T, moved.T, strict=True):
        shift = next(s for s in range(len(one)) if np.array_equal(np.roll(one, s), other))
        assert np.array_equal(np.roll(one, shift), other)
    assert not shifted.values[~TRAIN.recorded].any()
    pairs = np.triu_indices(frames.shape[1], 1)
    before, after = (np.abs(np.corrcoef(neurons.T)[pairs]).mean() for neurons in (frames, moved))
    assert after < 0.7 * before


def test_a_plane_is_distinguished_from_its_shifted_neurons():
    """Neurons that see two numbers lie on a plane; shifted against each other they fill more dimensions."""
    generator = np.random.default_rng(0)
    latents = generator.random((*TRAIN.mask.shape, 2))
    plane = replace(TRAIN, values=np.where(TRAIN.mask[..., None], latents @ generator.random((2, 8)), 0))

    def fit(train, validation):
        return fitted(Isomap(latent_dim=2, seed=0), train, validation)

    found = intrinsic_dimension(fit(plane, VALIDATION), fit, plane, VALIDATION)
    assert found["correlation_dimension"] == pytest.approx(2, abs=0.4)
    assert found["null_mean"] > found["correlation_dimension"] + 0.5
    assert found["n_values"] == TRAIN.recorded.sum()
