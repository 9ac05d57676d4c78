"""Multiple shooting with blocks of one frame: the same model without dynamics, and without an encoder's errors."""

import torch

from odevae.benchmark.models.shooting import Shooting
from odevae.data.trials import Trials
from odevae.training.frame_codes import likeliest_codes, refine_decoder
from odevae.training.reproducibility import random_state_kept, seed_everything
from odevae.training.shooting import FRAMES, ShootingSettings, tensors


class ShootingFrames(Shooting):
    """Every frame for itself, with latents by descent: for activity that neurons share within a frame and no longer.

    Its decoder is linear, up to a softplus for spikes, so it is a factor analysis with the noise of the recording.
    """

    # Latents are likeliest as they are.
    refines = False

    def default_candidates(self, kind: str) -> tuple[ShootingSettings, ...]:
        return (FRAMES,)

    def fit(self, train: Trials, validation: Trials) -> None:
        super().fit(train, validation)
        with random_state_kept():
            seed_everything(self.seed)
            refine_decoder(self.model, *tensors(train, self.scale))

    def _paths(self, values: torch.Tensor, recorded: torch.Tensor, hidden: torch.Tensor | None = None) -> torch.Tensor:
        hidden = torch.zeros(values.shape[-1], dtype=torch.bool) if hidden is None else hidden
        with torch.no_grad():
            start = self.model.encoder(self._shown(values, hidden), recorded)[0]
        counted = (recorded[..., None] & ~hidden).expand(values.shape)
        return likeliest_codes(self.model, start, values, counted)[None]
