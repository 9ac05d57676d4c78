"""Windows of a continuous session."""

import numpy as np

# Covariates of every recording whose trials are windows: the number of the session and of the window in it, from 1.
SESSION, WINDOW = "session", "window"


def window_starts(start: float, stop: float, window: float, gap: float, rounding: float) -> np.ndarray:
    """Where the windows of a session begin: as many as end by its stop.

    Args:
        start, stop: where the first window begins, and where the last one may end.
        window, gap: the length of a window, and the time between two windows that belongs to none.
        rounding: the session may be shorter than its windows by this much.

    Returns:
        ``(K,)``, in the unit of the arguments; empty if there is no room for a window.
    """
    room = stop - start - window
    if room < -rounding:
        return np.empty(0)
    return start + (window + gap) * np.arange(int((room + rounding) // (window + gap)) + 1)
