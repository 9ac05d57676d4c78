"""Libraries of the field that odevae does not install by itself."""

import importlib
from types import ModuleType

from odevae.errors import OdevaeError

EXTRA = "formats"


def library(name: str, where: str) -> ModuleType:
    """A library of the extra ``formats``.

    Raises:
        OdevaeError: if it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise OdevaeError(
            f"{where}: needs {name.partition('.')[0]}, which is not installed; install it with pip install "
            f"'odevae[{EXTRA}]'."
        ) from error
