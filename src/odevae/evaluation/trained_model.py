"""Load a trained model back into Python, from its run's folder or from the MLflow UI."""

from pathlib import Path

import torch

from odevae.benchmark.models.shooting import Shooting
from odevae.errors import OdevaeError
from odevae.models.odevae import ODEVAE, build
from odevae.models.presets import ModelSpec, spec_from
from odevae.storage.files import read_json
from odevae.storage.run_folder import RUN_FILE
from odevae.tracking.models import MODEL_URI, download_model
from odevae.training.checkpoints import load_checkpoint


def load_model(place: str | Path, checkpoint: str = "best") -> ODEVAE | Shooting:
    """The trained model of a run, in evaluation mode.

    Args:
        place: the run's folder, ``results/<data set>/...``, or ``models:/<id>``, the id from the Models tab of MLflow.
        checkpoint: ``best`` or ``last`` epoch.

    Returns:
        A model that takes ``(B, L, C)`` observations, their mask and times, as `Fold.sequences` of the run's fold gives
        them. Of the preset ``shooting`` one that answers for `Trials` in recorded units.

    Raises:
        OdevaeError: if a file is missing, damaged or of another run, or the run diverged.
    """
    folder = download_model(str(place)) if str(place).startswith(MODEL_URI) else Path(place)
    run = read_json(folder / RUN_FILE)
    if run["status"] != "ok":
        raise OdevaeError(f"{folder}: this run is {run['status']}, so it has left no trained model.")
    return model_of_run(run, load_checkpoint(folder, run)[checkpoint])


def model_of_run(run: dict, weights: dict[str, torch.Tensor]) -> ODEVAE | Shooting:
    """The model of a run with some of its weights, in evaluation mode; `run` is the content of ``run.json``."""
    spec, latent_dim = spec_from(run["spec"]), run["key"]["latent_dim"]
    if isinstance(spec, ModelSpec):
        model = build(spec, run["n_channels"], latent_dim)
        model.load_state_dict(weights)
        return model.eval()
    shooting = Shooting(latent_dim, run["key"]["seed"])
    shooting.restore(**run["fitted"], n_neurons=run["n_channels"], weights=weights)
    return shooting
