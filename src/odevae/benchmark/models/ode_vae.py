"""The paper's own models, fitted on the same trials as every other benchmark model.

The folds, the training and the settings are those of the workflow's ``heldout`` runs; only the trials come from the
benchmark. Predictions use the weights of the epoch with the highest validation R2 and the posterior mean.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.models.odevae import build
from odevae.models.presets import PRESETS
from odevae.models.solvers import SolverError
from odevae.protocols.observations import BASELINE_BINS
from odevae.protocols.recipes import as_seen_in, fit_heldout
from odevae.training.descent import Diverged
from odevae.training.loop import Epoch, fit
from odevae.training.progress import report_progress
from odevae.training.reproducibility import random_state_kept, seed_everything

# The weight of the smoothness term in the paper's tables (section 6.1).
LAMBDA_SMOOTH = 5e-4


@dataclass(eq=False)
class Preset(BenchmarkModel):
    """A model of `PRESETS`, whose encoder sees the first frame only and whose field gives the rest.

    A preset with baseline correction (v3 to v6) sees the mean of the first five frames too. Where it is given one frame
    alone, that frame is its own baseline: the encoder sees zeros, and every trial the same change from its first frame.

    Trials are integrated together in steps that suit all of them, so the other trials change the path of a trial
    within the tolerance of the solver.

    Attributes:
        epochs: replaces the preset's number of epochs.
        lambda_smooth: weight of the smoothness term.
        report: is given the name of the model, each epoch and the number of epochs.
        preset: its name.
        spec: its settings.
        fold: the training and validation trials as the model saw them; set by `fit`.
        best: the epoch whose weights are used; set by `fit`.
    """

    epochs: int | None = None
    lambda_smooth: float = LAMBDA_SMOOTH
    report: Callable[[str, Epoch, int], None] = report_progress
    preset: ClassVar[str]

    def __post_init__(self):
        self.spec = PRESETS[self.preset]
        if self.epochs is not None:
            self.spec = replace(self.spec, epochs=self.epochs)

    def fit(self, train: Trials, validation: Trials) -> None:
        """Train on `train` and keep the epoch with the highest R2 on `validation`.

        The global random state is left as it was.

        Raises:
            OdevaeError: if the training diverges, or if the trials do not keep to one frame interval.
        """
        parts = {"train": np.arange(len(train)), "validation": len(train) + np.arange(len(validation))}
        about = {"recording": f"{self.preset} in the benchmark", "observations": self.spec.observations}
        self.fold = fit_heldout(_together(train, validation), parts, about)
        name = f"{self.preset} with {self.latent_dim} latent dimensions"
        with random_state_kept():
            seed_everything(self.seed)
            self.model = build(self.spec, self.fold.preprocessor.n_channels, self.latent_dim)
            try:
                for epoch in fit(self.model, self.fold, self.spec, self.lambda_smooth):
                    self.report(name, epoch, self.spec.epochs)
            except Diverged as error:
                raise OdevaeError(
                    f"{name}: its training diverged in {error}; take another seed, or leave the model out."
                ) from error
        self.best = epoch.state.best
        self.model.load_state_dict(self.best.weights)
        self.model.eval().requires_grad_(False)

    def onset(self, trials: Trials, n_frames: int) -> np.ndarray:
        """Predictions ``(B, L, N)`` of every bin from the first `n_frames` frames.

        Raises:
            OdevaeError: if the path of a trial cannot be integrated.
        """
        return self.predict(trials, n_frames)[0]

    def infer(self, trials: Trials) -> np.ndarray:
        """Latent paths ``(B, L, D)``, from the first five frames of each trial.

        Raises:
            OdevaeError: if the path of a trial cannot be integrated.
        """
        return self.predict(trials, BASELINE_BINS)[1]

    def predict(self, trials: Trials, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Predictions ``(B, L, N)`` in recorded units and latent paths ``(B, L, D)``, from the first `n_frames`.

        Bins that are not recorded are predicted too: the path goes on.

        Raises:
            OdevaeError: if the path of a trial cannot be integrated.
        """
        seen = trials.recorded & (np.arange(trials.recorded.shape[1]) < n_frames)
        # Frames that are not to be seen count for nothing from here on, in the baseline as in the encoder.
        fold = as_seen_in(self.fold, replace(trials, values=np.where(seen[..., None], trials.values, 0), mask=seen))
        inputs = map(torch.from_numpy, (fold.observed, fold.raw.mask, fold.times))
        try:
            output = self.model(*inputs, sample=False)
        except SolverError as error:
            raise OdevaeError(
                f"{self.preset} with {self.latent_dim} latent dimensions: the path of one of {len(trials)} trials "
                f"cannot be integrated ({error}); take another seed, or leave the model out."
            ) from error
        return fold.to_raw(output.reconstruction.numpy(), fold.parts["test"]), output.path.numpy()


class V1(Preset):
    """The model behind the paper's Table 1: the first frame in, one network as the field."""

    preset = "v1"


class V2(Preset):
    """v1 with a mixture as its field and a narrower decoder."""

    preset = "v2"


class V3(Preset):
    """Experts in the field, on components less their baseline."""

    preset = "v3"


class V4(Preset):
    """v3 with a decoder of local attention."""

    preset = "v4"


class V5(Preset):
    """The paper's main model: experts in field and decoder, on components less their baseline."""

    preset = "v5"


class V6(Preset):
    """v5 on neurons instead of components."""

    preset = "v6"


def _together(train: Trials, validation: Trials) -> Trials:
    """The training trials, then those for validation, in arrays as long as the longer of the two."""
    n_bins = max(train.mask.shape[1], validation.mask.shape[1])

    def joined(name: str) -> np.ndarray:
        arrays = [getattr(trials, name) for trials in (train, validation)]
        widths = [[(0, 0), (0, n_bins - array.shape[1]), *[(0, 0)] * (array.ndim - 2)] for array in arrays]
        return np.concatenate([np.pad(array, width) for array, width in zip(arrays, widths, strict=True)])

    return Trials(
        values=joined("values"),
        mask=joined("mask"),
        recorded=joined("recorded"),
        times=joined("times"),
        trial_ids=np.concatenate([train.trial_ids, validation.trial_ids]),
    )
