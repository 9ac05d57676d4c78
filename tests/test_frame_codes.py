"""Latents of single frames: what descends is a maximum, and the decoder gains by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from odevae.benchmark.models.shooting_frames import ShootingFrames
from odevae.data.trials import Trials
from odevae.metrics import r2_neuron
from odevae.models.likelihoods import Gaussian, SoftplusPoisson
from odevae.models.shooting import ShootingVAE
from odevae.training.frame_codes import likeliest_codes
from odevae.training.shooting import FRAMES

N_NEURONS = 30


def bursts(n: int, seed: int) -> tuple[Trials, np.ndarray]:
    """Counts of neurons that share two numbers, other ones in every frame; and their rates."""
    generator = np.random.default_rng(seed)
    weights = np.random.default_rng(9).normal(0, 1, (2, N_NEURONS))
    latents = generator.normal(0, 1, (n, 30, 2))
    rates = np.logaddexp(0, latents @ weights + 1)
    mask = np.ones((n, 30), dtype=bool)
    values = generator.poisson(rates).astype(np.float32)
    return Trials(values, mask, mask, np.tile(np.arange(30.0), (n, 1)), np.arange(n), latents=latents), rates


TRAIN, VALIDATION, (TEST, RATES) = bursts(16, 0)[0], bursts(4, 1)[0], bursts(4, 2)


def test_the_likelihood_is_that_of_scipy():
    counts = torch.tensor([[0.0, 1.0, 7.0]])
    likelihood = SoftplusPoisson(torch.tensor([[1.0, 2.0, 0.5]]))
    output = torch.tensor([[-2.0, 0.3, 6.0]])
    found = likelihood.negative_log(output, counts).numpy()
    rates = np.logaddexp(0, output.numpy()) + 1e-4
    # Up to what does not depend on the rate.
    constant = poisson.logpmf(counts.numpy(), counts.numpy() + 1e-9) + counts.numpy()
    constant -= counts.numpy() * np.log(counts.numpy() + 1e-9)
    assert found == pytest.approx(constant - poisson.logpmf(counts.numpy(), rates), abs=1e-4)
    assert likelihood.mean(likelihood.start).numpy() == pytest.approx([1.0, 2.0, 0.5], abs=1e-3)


def test_codes_under_gaussian_noise_are_those_of_a_ridge():
    """Of the neurons that are seen; a frame of which nothing is seen has the mean of the prior."""
    torch.manual_seed(0)
    frames = torch.randn(40, N_NEURONS)
    model = ShootingVAE(
        Gaussian(frames), N_NEURONS, 3, block_frames=1, width=8, field_width=8, curved=False
    ).requires_grad_(False)
    values, counted = torch.randn(2, 5, N_NEURONS), torch.rand(2, 5, N_NEURONS) < 0.6
    counted[1, 4] = False
    found = likeliest_codes(model, torch.randn(2, 5, 3), values, counted)
    weight, bias = model.decoder.weight.double(), model.decoder.bias.double()
    precision = torch.exp(-2 * model.likelihood.log_sd.double())
    for place in np.ndindex(2, 5):
        seen = counted[place]
        scaled = weight[seen] * precision[seen, None]
        expected = torch.linalg.solve(
            scaled.T @ weight[seen] + torch.eye(3), scaled.T @ (values[place].double() - bias)[seen]
        )
        assert found[place].double().numpy() == pytest.approx(expected.numpy(), abs=5e-3)


@pytest.mark.slow
def test_neurons_that_share_single_frames_are_predicted_from_each_other():
    """Above the encoder of the same fit, and close to what the true decoder could say."""
    model = ShootingFrames(2, 0, (replace(FRAMES, steps=160, width=32, batches=4),))
    model.fit(TRAIN, VALIDATION)
    hidden = np.arange(N_NEURONS) % 3 == 0
    activity, rates = model.hidden_neurons(TEST, hidden)
    assert np.array_equal(activity, rates)
    by_descent = r2_neuron(RATES[..., hidden].reshape(-1, 10), rates.reshape(-1, 10))
    by_encoder = super(ShootingFrames, model)._paths
    model._paths = by_encoder
    amortised = model.hidden_neurons(TEST, hidden)[1]
    assert by_descent > 0.75 and by_descent > r2_neuron(RATES[..., hidden].reshape(-1, 10), amortised.reshape(-1, 10))
