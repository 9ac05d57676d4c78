"""Latent neural-ODE variational autoencoders for population recordings, with an audit of every score."""

from importlib import import_module
from typing import Any

# Imported when it is first asked for, because it needs PyTorch and scikit-learn. Not by a statement, which
# `odevae.jobs.code_digest` would follow: no job depends on it.
_LAZY = {"ODEVAE": "odevae.estimator.estimator"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
