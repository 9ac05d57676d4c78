"""Load a trained model back into Python, from its run's folder or from the MLflow UI."""

from pathlib import Path

from odevae.errors import OdevaeError
from odevae.models.odevae import ODEVAE, build
from odevae.models.presets import ModelSpec
from odevae.storage.files import read_json
from odevae.storage.run_folder import RUN_FILE
from odevae.tracking.models import MODEL_URI, download_model
from odevae.training.checkpoints import load_checkpoint


def load_model(place: str | Path, checkpoint: str = "best") -> ODEVAE:
    """The trained model of a run, in evaluation mode.

    Args:
        place: the run's folder, ``results/<data set>/...``, or ``models:/<id>``, the id from the Models tab of MLflow.
        checkpoint: ``best`` or ``last`` epoch.

    Returns:
        A model that takes ``(B, L, C)`` observations, their mask and times, as `Fold.sequences` of the run's fold gives
        them.

    Raises:
        OdevaeError: if a file is missing, damaged or of another run, or the run diverged.
    """
    folder = download_model(str(place)) if str(place).startswith(MODEL_URI) else Path(place)
    run = read_json(folder / RUN_FILE)
    if run["status"] != "ok":
        raise OdevaeError(f"{folder}: this run is {run['status']}, so it has left no trained model.")
    model = build(ModelSpec(**run["spec"]), run["n_channels"], run["key"]["latent_dim"])
    model.load_state_dict(load_checkpoint(folder, run)[checkpoint])
    return model.eval()
