"""Python's garbage collector in a short job, which would spend seconds on modules that stay until the end."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """For imports: no collection inside, and nothing that is there afterwards is looked at by later ones."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
