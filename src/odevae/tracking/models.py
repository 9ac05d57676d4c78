"""Trained models that the store keeps."""

import os
from pathlib import Path

from odevae.errors import OdevaeError
from odevae.tracking.address import DEFAULT_URI, VARIABLE, redacted

MODEL_URI = "models:/"


def download_model(uri: str) -> Path:
    """Files of a trained model, by ``models:/<id>``: a folder that looks like its run's.

    The store is that of the environment variable ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working directory.

    Raises:
        OdevaeError: if the store has no such model.
    """
    from mlflow.artifacts import download_artifacts

    store = os.environ.get(VARIABLE) or DEFAULT_URI
    try:
        return Path(download_artifacts(artifact_uri=uri, tracking_uri=store))
    except Exception as error:
        raise OdevaeError(
            f"{uri}: cannot be loaded from {redacted(store)} ({type(error).__name__}: {redacted(str(error))}); copy "
            f"the id from the Models tab, and call this where mlflow.db is or set {VARIABLE}."
        ) from error
