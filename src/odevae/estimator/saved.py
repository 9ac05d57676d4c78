"""A fitted model in one file of plain arrays, without pickles."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odevae.benchmark.models.ode_vae import Preset
from odevae.benchmark.models.shooting import Shooting
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.models.odevae import build
from odevae.models.presets import ModelSpec
from odevae.protocols.fold import Fold
from odevae.protocols.preprocessing import Preprocessor
from odevae.storage.files import read_arrays, write_arrays

_WEIGHT, _PREPROCESSOR = "weight_", "preprocessor_"

Model = Preset | Shooting
"""A fitted model of the estimator."""


def without_trials(fold: Fold) -> Fold:
    """What a fitted model needs of its fold: none of its trials."""
    nobody = fold.raw.take(np.array([], dtype=np.int64))
    return replace(fold, raw=nobody, observed=fold.observed[:0], baseline=fold.baseline[:0], parts={})


def save(path: str | Path, about: dict[str, Any], model: Model, arrays: dict[str, np.ndarray]) -> None:
    """Write a fitted model.

    Args:
        path: the file, an ``.npz`` whatever its suffix.
        about: JSON values to keep with it.
        model: fitted.
        arrays: to keep with it.

    Raises:
        OSError: if the file cannot be written.
    """
    settings: dict[str, Any]
    if isinstance(model, Preset):
        fold = model.fold
        settings = {"spec": asdict(model.spec), "time_scale_s": fold.time_scale_s, "fold": fold.about}
        arrays = arrays | {_PREPROCESSOR + name: array for name, array in vars(fold.preprocessor).items()}
    else:
        own = ("kind", "scale", "smooths")
        settings = {"settings": asdict(model.settings)} | {name: getattr(model, name) for name in own}
    arrays = arrays | {_WEIGHT + name: weight.numpy() for name, weight in model.model.state_dict().items()}
    text = json.dumps(about | {"model": settings, "latent_dim": model.latent_dim, "seed": model.seed})
    write_arrays(path, arrays | {"about": np.array(text)})


def load(path: str | Path, models: dict[str, type[Model]]) -> tuple[dict[str, Any], Model, dict[str, np.ndarray]]:
    """Read what `save` wrote: `about`, the model, which is one of `models` by ``about["preset"]``, and all arrays.

    Raises:
        OdevaeError: if there is no such file, or it is damaged, or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise OdevaeError(f"{path}: there is no such file; check the path of the saved model.")
    try:
        arrays, _ = read_arrays(path)
        about = json.loads(str(arrays["about"]))
        n_neurons = about["n_neurons"]
        model = models[about["preset"]](latent_dim=about["latent_dim"], seed=about["seed"])
        weights = {
            name.removeprefix(_WEIGHT): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith(_WEIGHT)
        }
        if isinstance(model, Preset):
            _restore_preset(model, about["model"], arrays, n_neurons)
            model.model.load_state_dict(weights)
            model.model.eval().requires_grad_(False)
        else:
            model.restore(**about["model"], n_neurons=n_neurons, weights=weights)
    except Exception as error:
        raise OdevaeError(
            f"{path}: is no model that this version of odevae saved, or is damaged ({type(error).__name__}); fit and "
            "save it again."
        ) from error
    return about, model, arrays


def _restore_preset(model: Preset, settings: dict, arrays: dict[str, np.ndarray], n_neurons: int) -> None:
    preprocessor = Preprocessor(
        **{name.removeprefix(_PREPROCESSOR): a for name, a in arrays.items() if name.startswith(_PREPROCESSOR)}
    )
    model.spec = ModelSpec(**settings["spec"])
    no_bins = np.zeros((0, 1), dtype=bool)
    nobody = Trials(
        values=np.zeros((0, 1, n_neurons), dtype=np.float32),
        mask=no_bins,
        recorded=no_bins,
        times=np.zeros((0, 1)),
        trial_ids=np.zeros(0, dtype=np.int64),
    )
    model.fold = Fold(
        raw=nobody,
        observed=np.zeros((0, 1, preprocessor.n_channels), dtype=np.float32),
        baseline=np.zeros((0, preprocessor.n_channels), dtype=np.float32),
        parts={},
        preprocessor=preprocessor,
        grid_s=np.zeros(1),
        time_scale_s=settings["time_scale_s"],
        about=settings["fold"],
    )
    model.model = build(model.spec, preprocessor.n_channels, model.latent_dim)
