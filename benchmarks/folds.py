"""The command line of the benchmarks that fit models to folds."""

import argparse
from pathlib import Path

import torch


def fold_arguments(description: str, *numbers: str) -> argparse.Namespace:
    """``folds``, paths; ``latent_dim``; and whole numbers by the names of other options; one thread for PyTorch.

    Args:
        description: the text of the script, whose first sentence is shown.
        numbers: options such as ``--frames``.
    """
    parser = argparse.ArgumentParser(description=description.partition(":")[0])
    parser.add_argument("folds", type=Path, nargs="+", metavar="FOLD")
    for option in ("--latent-dim", *numbers):
        parser.add_argument(option, type=int, required=True)
    torch.set_num_threads(1)
    return parser.parse_args()
