"""The models as an estimator in the shape of scikit-learn, for arrays of trials.

The class has the name of the paper's model. `odevae.models.odevae.ODEVAE` is the network inside it, ``network_``.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from odevae.benchmark.models.ode_vae import LAMBDA_SMOOTH, V1, V2, V3, V4, V5, V6, Preset
from odevae.benchmark.models.shooting import Shooting
from odevae.data.trials import Trials, off_interval
from odevae.errors import OdevaeError
from odevae.estimator.inputs import InputError, TrialsLike, as_trials, frame_interval, like
from odevae.estimator.progress import EpochBar
from odevae.estimator.saved import Model, load, save, without_trials
from odevae.events import kind_of
from odevae.metrics import moments
from odevae.models.solvers import SolverError
from odevae.protocols.observations import BASELINE_BINS
from odevae.protocols.splits import random_sequences
from odevae.training.loop import Epoch
from odevae.training.progress import report_progress
from odevae.training.shooting import limited

_PAPER: tuple[type[Preset], ...] = (V1, V2, V3, V4, V5, V6)
MODELS: dict[str, type[Model]] = {**{model.preset: model for model in _PAPER}, "shooting": Shooting}


class ODEVAE(TransformerMixin, BaseEstimator):
    """A latent neural-ODE variational autoencoder of trials: the models and the training of the workflow.

    Trials are a list of arrays (frames x neurons), one array (trials x frames x neurons), or
    `odevae.data.trials.Trials`. What comes back has the same form: a list for a list, otherwise an array, NaN after the
    end of a trial. Activity is in the units that it was given in.

    Args:
        latent_dim: dimension ``D`` of the latents.
        preset: ``v1`` to ``v6``, the paper's models, or ``shooting``. The encoder of the paper's models sees the first
            frame of a trial only, v3 to v6 also the mean of its first five; ``shooting`` sees the whole trial.
        max_epochs: passes over the training trials; None for what the preset has (150; ``shooting`` counts steps).
        patience: stop after this many epochs without a better validation R2; None for what the preset has, which is
            never. Not for ``shooting``.
        lambda_smooth: weight of the smoothness term. Not for ``shooting``, which has none.
        validation_fraction: share of the trials, drawn at random, that are held out to choose the epoch; at least one.
        random_state: an int for the same result on each call; see scikit-learn's glossary.
        verbose: whether to show a bar of the epochs; None shows it in a terminal and in a notebook.

    Attributes:
        n_features_in_: number of neurons ``N``.
        network_: the trained torch module.
        history_: one dict for each epoch, with the columns of the workflow's ``history.csv``; for ``shooting`` one for
            each look at the validation trials.
        best_epoch_: the epoch whose weights are used, of the highest validation R2; None for ``shooting``.
        frame_interval_: of the training trials, in their unit of time; 1 for arrays, which count frames.
        n_frames_: of the longest training trial.
        validation_rows_: which of the trials were held out, ``(n,)``; None if they were given.
    """

    def __init__(
        self,
        latent_dim: int = 5,
        preset: str = "v5",
        *,
        max_epochs: int | None = None,
        patience: int | None = None,
        lambda_smooth: float = LAMBDA_SMOOTH,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
    ):
        self.latent_dim = latent_dim
        self.preset = preset
        self.max_epochs = max_epochs
        self.patience = patience
        self.lambda_smooth = lambda_smooth
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: TrialsLike, y: Any = None, *, validation: TrialsLike | None = None) -> Self:
        """Train on trials.

        Args:
            X: trials of two or more frames each; `Trials` at a steady frame interval.
            y: ignored.
            validation: trials to choose the epoch on, in place of a share of X.

        Raises:
            InputError: if a setting or the trials cannot be used.
            OdevaeError: if the training diverges.
        """
        self._check_settings()
        trials = as_trials(X, min_frames=2)
        interval = frame_interval(trials)
        seed = _seed_of(self.random_state)
        if validation is None:
            rows, train, held_out = self._held_out(trials, seed)
        else:
            held_out = as_trials(validation, min_frames=2, n_neurons=trials.values.shape[2])
            rows, train = None, trials
            _require_interval(validation, held_out, interval if isinstance(X, Trials) else None)
        history: list[dict[str, Any]] = []
        bar = EpochBar(self.verbose)

        def report(name: str, epoch: Epoch, epochs: int) -> None:
            history.append(epoch.row)
            bar.show(name, epoch, epochs)

        model = self._new_model(train, seed)
        try:
            if isinstance(model, Preset):
                model.report = report
            model.fit(train, held_out)
        finally:
            bar.close()
        if isinstance(model, Preset):
            model.report = report_progress
            self._baselines = model.fold.baseline[model.fold.parts["train"]]
            model.fold = without_trials(model.fold)
            self.best_epoch_: int | None = model.best.epoch
        else:
            history = [{"look": look, "hidden_loss": loss} for look, loss in enumerate(model.history, start=1)]
            self._baselines = np.zeros((0, 0), dtype=np.float32)
            self.best_epoch_ = None
        self._adopt(model, trials.values.shape[2])
        self.history_ = history
        self.frame_interval_ = interval
        self.in_frames_ = not isinstance(X, Trials)
        self.n_frames_ = int(train.recorded.sum(axis=1).max())
        self.validation_rows_ = rows
        return self

    def transform(self, X: TrialsLike) -> np.ndarray | list[np.ndarray]:
        """Latent paths, frames x D for each trial: the posterior mean, carried on by the field."""
        trials = self._trials(X)
        return like(X, trials, self._model.infer(trials))

    def reconstruct(self, X: TrialsLike) -> np.ndarray | list[np.ndarray]:
        """What the model makes of each trial, frames x neurons, from what its encoder sees of it."""
        trials = self._trials(X)
        return like(X, trials, self._reconstructed(trials))

    def interval(self, X: TrialsLike, coverage: float = 0.9) -> tuple[Any, Any]:
        """Lower and upper ends of where the activity of each trial is expected, two of what `reconstruct` gives.

        Quantiles of draws of the latent path from its posterior and of the activity about it.

        Args:
            X: trials.
            coverage: the probability of the interval.

        Raises:
            OdevaeError: if the preset is one of the paper's.
        """
        check_is_fitted(self)
        model = self._model
        if not isinstance(model, Shooting):
            raise OdevaeError(f"the preset {self.preset} has no interval; fit shooting for it.")
        if not 0 < coverage < 1:
            raise InputError(f"coverage is {coverage!r}; give a share between 0 and 1.")
        trials = self._trials(X)
        lower, upper = model.interval(trials, coverage)
        return like(X, trials, lower), like(X, trials, upper)

    def forecast(self, X: TrialsLike, n_frames: int) -> np.ndarray:
        """The `n_frames` after the end of each trial, ``(B, n_frames, N)``, X being beginnings of trials.

        The path that starts in the first frame of a trial goes on beyond its last one.

        Raises:
            OdevaeError: if the preset is ``shooting``.
        """
        model = self._able("forecast")
        if not _is_count(n_frames):
            raise InputError(f"n_frames is {n_frames!r}; give a whole number, 1 or more.")
        trials = self._trials(X)
        longer = _extended(trials, n_frames)
        predicted, _ = model.predict(longer, BASELINE_BINS)
        bins = trials.recorded.sum(axis=1)[:, None] + np.arange(n_frames)
        return np.take_along_axis(predicted, bins[..., None], axis=1)

    def score(self, X: TrialsLike, y: Any = None) -> float:
        """R2 of `reconstruct`, each neuron about its own mean (``r2_neuron`` in the workflow's tables)."""
        trials = self._trials(X)
        return moments(trials.values, self._reconstructed(trials), trials.recorded).r2_neuron()

    def sample(
        self,
        n_samples: int = 1,
        n_frames: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> np.ndarray:
        """Activity of new trials, ``(n_samples, n_frames, N)``, without noise.

        The initial state is drawn from its prior, and for v3 to v6 the baseline from those of the training trials.

        Args:
            n_samples: how many.
            n_frames: of each; None for as many as the longest training trial has.
            random_state: as that of the estimator.

        Raises:
            OdevaeError: if the preset is ``shooting``.
        """
        model = self._able("sample")
        n_frames = self.n_frames_ if n_frames is None else n_frames
        if not (_is_count(n_samples) and _is_count(n_frames)):
            raise InputError("n_samples and n_frames are to be whole numbers, 1 or more.")
        generator = np.random.default_rng(_seed_of(random_state))
        network, fold = model.model, model.fold
        state = generator.standard_normal((n_samples, self.latent_dim), dtype=np.float32)
        baseline = self._baselines[generator.integers(len(self._baselines), size=n_samples)]
        times = (fold.about["frame_interval_s"] * np.arange(n_frames) / fold.time_scale_s).astype(np.float32)
        try:
            path = network.solver(network.field, torch.from_numpy(state), torch.from_numpy(times))
        except SolverError as error:
            raise OdevaeError(f"a sampled path cannot be integrated ({error}); ask for fewer n_frames.") from error
        return fold.preprocessor.inverse(network.decoder(path).numpy() + baseline[:, None, :]).astype(np.float32)

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one file, which holds arrays and settings: no pickle, and none of the trials.

        Raises:
            OSError: if it cannot be written.
        """
        check_is_fitted(self)
        about = {
            "preset": self.preset,
            "params": {name: _plain(value) for name, value in self.get_params().items()},
            "n_neurons": self.n_features_in_,
            "history": self.history_,
            "best_epoch": self.best_epoch_,
            "frame_interval": self.frame_interval_,
            "in_frames": self.in_frames_,
            "n_frames": self.n_frames_,
        }
        arrays = {"baselines": self._baselines}
        if self.validation_rows_ is not None:
            arrays["validation_rows"] = self.validation_rows_
        save(path, about, self._model, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The fitted model that `save` wrote.

        Raises:
            OdevaeError: if there is no such file, or it is damaged, or something else.
        """
        about, model, arrays = load(path, MODELS)
        estimator = cls(**about["params"])
        estimator._adopt(model, about["n_neurons"])
        estimator._baselines = arrays["baselines"]
        estimator.history_, estimator.best_epoch_ = about["history"], about["best_epoch"]
        estimator.frame_interval_, estimator.in_frames_ = about["frame_interval"], about["in_frames"]
        estimator.n_frames_ = about["n_frames"]
        estimator.validation_rows_ = arrays.get("validation_rows")
        return estimator

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _adopt(self, model: Model, n_neurons: int) -> None:
        self._model = model
        self.network_ = model.model
        self.n_features_in_ = n_neurons

    def _check_settings(self) -> None:
        if self.preset not in MODELS:
            raise InputError(f"preset is {self.preset!r}; choose one of {', '.join(MODELS)}.")
        if not _is_count(self.latent_dim):
            raise InputError(f"latent_dim is {self.latent_dim!r}; give a whole number, 1 or more.")
        for name in ("max_epochs", "patience"):
            value = getattr(self, name)
            if value is not None and not _is_count(value):
                raise InputError(f"{name} is {value!r}; give a whole number, 1 or more, or None.")
        if self.patience is not None and self.preset == "shooting":
            raise InputError("the preset shooting has no patience; set patience=None, or max_epochs for a shorter fit.")
        if not 0 < self.validation_fraction < 1:
            raise InputError(f"validation_fraction is {self.validation_fraction!r}; give a share between 0 and 1.")
        if not (np.isfinite(self.lambda_smooth) and self.lambda_smooth >= 0):
            raise InputError(f"lambda_smooth is {self.lambda_smooth!r}; give a number, 0 or more.")

    def _held_out(self, trials: Trials, seed: int) -> tuple[np.ndarray, Trials, Trials]:
        """Rows of the validation trials, the training trials and the validation trials."""
        parts = random_sequences(len(trials), self.validation_fraction, seed)
        if not len(parts["train"]):
            raise InputError(
                f"X has {len(trials)} trial(s), n_samples = {len(trials)}, too few to hold {len(parts['validation'])} "
                "out for validation; give more trials, lower validation_fraction, or give fit its validation trials."
            )
        return parts["validation"], trials.take(parts["train"]), trials.take(parts["validation"])

    def _new_model(self, train: Trials, seed: int) -> Model:
        kind = MODELS[self.preset]
        if issubclass(kind, Preset):
            model = kind(int(self.latent_dim), seed, self.max_epochs, self.lambda_smooth)
            if self.patience is not None:
                model.spec = replace(model.spec, patience=self.patience)
            return model
        shooting = kind(int(self.latent_dim), seed)
        shooting.candidates = shooting.default_candidates(kind_of(train.values[train.recorded]))
        if self.max_epochs is not None:
            shooting.candidates = limited(shooting.candidates, self.max_epochs, len(train))
        return shooting

    def _trials(self, X: TrialsLike) -> Trials:
        """Trials to answer for."""
        check_is_fitted(self)
        trials = as_trials(X, n_neurons=self.n_features_in_)
        _require_interval(X, trials, None if self.in_frames_ else self.frame_interval_)
        return trials

    def _reconstructed(self, trials: Trials) -> np.ndarray:
        """``(B, L, N)``."""
        model = self._model
        return model.onset(trials, BASELINE_BINS) if isinstance(model, Preset) else model.reconstruct(trials)

    def _able(self, method: str) -> Preset:
        """The fitted model, if it has this method."""
        check_is_fitted(self)
        if not isinstance(self._model, Preset):
            able = ", ".join(model.preset for model in _PAPER)
            raise OdevaeError(f"the preset {self.preset} has no {method}; fit one of {able} for it.")
        return self._model


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def _plain(value: Any) -> Any:
    """A setting as a JSON value; None for a generator, whose state is not kept."""
    if isinstance(value, np.random.RandomState):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _seed_of(random_state: int | np.random.RandomState | None) -> int:
    """An int is the seed itself, so that a run of the workflow with this seed can be repeated."""
    if isinstance(random_state, int | np.integer):
        if random_state < 0:
            raise InputError(f"random_state is {random_state}; give 0 or more.")
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def _require_interval(X: TrialsLike, trials: Trials, interval: float | None) -> None:
    """Refuse `Trials` at another frame interval than the one of training; arrays count frames, whatever they last."""
    if not isinstance(X, Trials) or interval is None:
        return
    steps = np.diff(trials.times, axis=1)[trials.recorded[:, 1:]]
    if len(steps) and off_interval(steps, interval).any():
        raise InputError(
            f"X has steps of {np.median(steps):.4g} s between frames, at most {steps.max():.4g} s, but the model was "
            f"fitted on frames every {interval:.4g} s; resample the trials."
        )


def _extended(trials: Trials, n_frames: int) -> Trials:
    """The same trials in arrays with so many more bins, which are not recorded."""

    def longer(array: np.ndarray) -> np.ndarray:
        return np.pad(array, [(0, 0), (0, n_frames), *[(0, 0)] * (array.ndim - 2)])

    return Trials(
        values=longer(trials.values),
        mask=longer(trials.mask),
        recorded=longer(trials.recorded),
        times=longer(trials.times),
        trial_ids=trials.trial_ids,
    )
