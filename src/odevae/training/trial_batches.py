"""Batches of whole trials of similar length."""

from collections.abc import Iterator

import torch

# Trials of one batch have similar lengths: they are drawn in the order of their length times one plus or minus this.
LENGTH_JITTER = 0.3


def batches(values: torch.Tensor, recorded: torch.Tensor, frames: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of trials of similar length without end, each cut to its longest trial; every trial once a round.

    Args:
        values: ``(B, L, N)``.
        recorded: ``(B, L)``, bins inside the trial; they come first.
        frames: about how many recorded frames a batch has.
    """
    lengths = recorded.sum(dim=1)
    n_batches = max(1, round(int(lengths.sum()) / frames))
    while True:
        order = (lengths * (1 + LENGTH_JITTER * (2 * torch.rand(len(lengths)) - 1))).argsort()
        parts = [rows for rows in order.tensor_split(n_batches) if len(rows)]
        for i in torch.randperm(len(parts)).tolist():
            length = int(lengths[parts[i]].max())
            yield values[parts[i], :length], recorded[parts[i], :length]
