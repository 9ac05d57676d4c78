"""Weights to start from: an encoder that gives coordinates of the frames on their manifold, a decoder that inverts it.

A network that is trained from random weights can fold the latents: distant places of the manifold come to lie on each
other, and no later step parts them again, because the path between them leads through worse fits. Isomap (Tenenbaum, de
Silva & Langford, *Science* 2000) does not fold: it lays frames out by their distances along the manifold. So it decides
where training begins, and the objective of the model where it ends.
"""

from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from torch.optim.lr_scheduler import OneCycleLR

from odevae.models.likelihoods import Likelihood
from odevae.models.shooting import ShootingVAE
from odevae.training.descent import descend
from odevae.training.optimisers import AdamW
from odevae.training.trial_batches import batches

# At most so many frames, drawn at random, are laid out by Isomap; and so many of the first trials get coordinates.
LANDMARKS, FRAMES = 2500, 16_000
NEIGHBOURS = 12
STEPS, LEARNING_RATE = 400, 5e-3
# Smallest share of the largest variance that a coordinate is taken to have, so that a flat one stays finite.
FLAT = 1e-6


def start_from_charts(
    model: ShootingVAE,
    values: torch.Tensor,
    recorded: torch.Tensor,
    hide: Callable[[Likelihood, torch.Tensor], torch.Tensor],
    n_batches: int,
) -> None:
    """Train encoder and decoder in place, each on the coordinates of the training frames.

    Args:
        model: new; its field is left as it is, but for the scale of its velocities.
        values, recorded: training trials ``(B, L, N)`` and ``(B, L)``, as in `odevae.training.shooting.fit_shooting`.
        hide: gives what the encoder is shown of trials, by likelihood and values.
        n_batches: steps in which every trial is seen once.
    """
    n_dims = model.encoder.head.out_features // 2
    n_trials = max(1, int((recorded.sum(dim=1).cumsum(dim=0) <= FRAMES).sum()))
    values, recorded = values[:n_trials], recorded[:n_trials]
    if model.second_order:
        positions = coordinates(values, recorded, n_dims // 2)
        velocities, scale = velocities_of(positions, recorded)
        wanted = torch.cat([positions, velocities], dim=-1)
        with torch.no_grad():
            model.field.log_scale.copy_(scale.log())
    else:
        wanted = coordinates(values, recorded, n_dims)
    optimiser = AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.0, fused=True)
    schedule = OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS)
    both = torch.cat([values, wanted], dim=-1)
    model.train()
    for batch, inside in islice(batches(both, recorded, max(1, int(recorded.sum()) // n_batches)), STEPS):
        activity, places = batch.split([values.shape[-1], n_dims], dim=-1)
        mean, _ = model.encoder(hide(model.likelihood, activity), inside)
        off = (mean - places).square().sum(dim=-1)
        unlikely = model.likelihood.negative_log(model.decoder(places), activity).sum(dim=-1)
        loss = ((off + unlikely / activity.shape[-1] ** 0.5) * inside).sum() / inside.sum()
        descend(loss, model, optimiser)
        schedule.step()


def coordinates(values: torch.Tensor, recorded: torch.Tensor, n_dims: int) -> torch.Tensor:
    """Coordinates of frames ``(B, L, n_dims)`` by Isomap, of mean 0 and covariance 1; 0 outside the trials.

    Args:
        values: ``(B, L, N)``.
        recorded: ``(B, L)``.
        n_dims: at most the number of frames less two.
    """
    # Slow to import, and other settings need none of it.
    from sklearn.manifold import Isomap

    frames = values[recorded].double().numpy()
    landmarks = np.random.default_rng(0).permutation(len(frames))[:LANDMARKS]
    isomap = Isomap(n_neighbors=min(NEIGHBOURS, len(landmarks) - 1), n_components=n_dims).fit(frames[landmarks])
    found = isomap.transform(frames)
    found -= found.mean(axis=0)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(found.T)))
    found = found @ axes / np.sqrt(np.maximum(variances, FLAT * (variances.max() or 1.0)))
    placed = torch.zeros(*recorded.shape, n_dims)
    placed[recorded] = torch.from_numpy(found.astype(np.float32))
    return placed


def velocities_of(positions: torch.Tensor, recorded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Central differences of positions ``(B, L, d)`` within the trials, per frame, and their SD ``(d,)``, by which they
    are divided; 0 outside the trials and in trials of one frame."""
    found = torch.zeros_like(positions)
    for place, length in enumerate(recorded.sum(dim=1).tolist()):
        if length > 1:
            found[place, :length] = torch.gradient(positions[place, :length], dim=0)[0]
    scale = found[recorded].square().mean(dim=0).sqrt().clamp_min(FLAT)
    return found / scale, scale
