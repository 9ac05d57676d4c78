"""Recordings made from known latents, to test what an inferred latent is worth."""

import inspect

from odevae.data.recording import Recording
from odevae.data.simulate.attractors import arneodo, lorenz, roessler
from odevae.data.simulate.foraging import foraging
from odevae.data.simulate.random_path import random_path
from odevae.data.simulate.sphere import sphere
from odevae.errors import OdevaeError

SIMULATIONS = {
    "foraging": foraging,
    "arneodo": arneodo,
    "lorenz": lorenz,
    "roessler": roessler,
    "random_path": random_path,
    "sphere": sphere,
}


def simulate(kind: str, **settings) -> Recording:
    """Run one of `SIMULATIONS` with its settings.

    Raises:
        OdevaeError: if there is no such simulation, or it has no such setting, or a setting makes no sense.
    """
    if kind not in SIMULATIONS:
        raise OdevaeError(f"there is no simulation {kind!r}; choose one of {', '.join(SIMULATIONS)}.")
    known = inspect.signature(SIMULATIONS[kind]).parameters
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise OdevaeError(
            f"the simulation {kind} has no setting {', '.join(unknown)}; correct the name to one of {', '.join(known)}."
        )
    return SIMULATIONS[kind](**settings)
