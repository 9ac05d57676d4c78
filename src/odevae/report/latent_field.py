"""The latent field of a trained run, as a function from arrays to arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from odevae.evaluation.trained_model import load_model
from odevae.models.odevae import ODEVAE
from odevae.models.presets import ModelSpec, spec_from
from odevae.protocols.fold import Fold
from odevae.storage.files import read_json
from odevae.storage.run_folder import RUN_FILE


@dataclass(frozen=True)
class LatentField:
    """The latent field at the start of a trial, t = 0.

    A first-order field gives the velocity ``dz/dt``. A second-order field changes ``(z, v)``, and ``dz/dt = v`` does
    not depend on the place; it is shown as the acceleration ``dv/dt`` of a state at rest, v = 0.

    Attributes:
        field: takes a time and states, in units of `time_scale_s`.
    """

    field: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    second_order: bool
    time_dependent: bool
    time_scale_s: float

    @property
    def quantity(self) -> str:
        name = "acceleration of a state at rest" if self.second_order else "velocity"
        return f"{name} at t = 0" if self.time_dependent else name

    @property
    def unit(self) -> str:
        return "a.u./s²" if self.second_order else "a.u./s"

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Latent states ``(G, D)`` to velocities (or accelerations) ``(G, D)``, in units of the latent and s."""
        z = torch.from_numpy(np.asarray(states, dtype=np.float32))
        at_rest = torch.cat([z, torch.zeros_like(z)], dim=1) if self.second_order else z
        with torch.no_grad():
            change = self.field(torch.zeros(()), at_rest)[:, -z.shape[1] :]
        # The model's time is in units of the fold's time scale.
        return change.double().numpy() / self.time_scale_s ** (2 if self.second_order else 1)


def load_latent_field(fold: Fold, run_folder: Path) -> LatentField | None:
    """The field of the best epoch of a run, or None if the run diverged."""
    run = read_json(run_folder / RUN_FILE)
    if run["status"] != "ok":
        return None
    spec, model = spec_from(run["spec"]), load_model(run_folder)
    if isinstance(model, ODEVAE) and isinstance(spec, ModelSpec):
        return LatentField(model.field, spec.second_order, spec.time_dependent, fold.time_scale_s)
    # The time of multiple shooting counts frames.
    return LatentField(model.model.field, False, False, fold.about["frame_interval_s"])
