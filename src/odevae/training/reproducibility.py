"""Everything random passes through here: seeds, the state of the generators, and operations that repeat their bits."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed every generator in use and refuse operations whose result could differ from call to call."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries below us draw from it
    torch.manual_seed(seed)
    require_deterministic()


def require_deterministic() -> None:
    """Let PyTorch refuse operations whose result could differ from call to call."""
    # Without it cuBLAS gives other bits from call to call, and PyTorch refuses to use it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The same as use_deterministic_algorithms(True), which also imports the compiler of PyTorch: a second of CPU time.
    torch.set_deterministic_debug_mode("error")


def generators() -> dict:
    """States of the random generators of Python, NumPy and PyTorch, as plain values and tensors."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_generators(states: dict) -> None:
    """Put the generators back to what `generators` saw."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Seed and draw inside as you like: afterwards the generators and PyTorch's determinism are as they were."""
    states, deterministic = generators(), torch.get_deterministic_debug_mode()
    try:
        yield
    finally:
        restore_generators(states)
        torch.set_deterministic_debug_mode(deterministic)
