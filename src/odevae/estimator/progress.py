"""A bar of the epochs, where someone watches."""

import sys

from tqdm.auto import tqdm

from odevae.training.loop import Epoch


class EpochBar:
    """Shows each epoch of a training and its validation R2; made for the loop of a model (`Preset.report`).

    Args:
        verbose: whether to show the bar; None shows it in a terminal and in a notebook.
    """

    def __init__(self, verbose: bool | None):
        self.shown = watched() if verbose is None else verbose
        self.bar: tqdm | None = None

    def show(self, name: str, epoch: Epoch, epochs: int) -> None:
        if self.bar is None:
            self.bar = tqdm(total=epochs, desc=name, unit="epoch", disable=not self.shown)
        best = epoch.state.best
        self.bar.set_postfix(validation_R2=f"{epoch.row['val_r2']:.3f}", best=f"{best.score:.3f}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def watched() -> bool:
    """Whether this process writes to a terminal or to a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
