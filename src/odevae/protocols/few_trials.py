"""What a reader must know about scores that rest on few trials."""

# Scores on fewer trials depend on which trials they are.
FEW_TRIALS = 5
ENOUGH_TRIALS = 10


def note_on_trials(where: str, n_trials: int) -> str | None:
    """A sentence about scores on `n_trials` held-out trials a split; None if these are enough."""
    trials = f"{n_trials} {'trial' if n_trials == 1 else 'trials'}"
    if n_trials < FEW_TRIALS:
        return f"{where}: scored on {trials}; that is an anecdote, not a result."
    if n_trials < ENOUGH_TRIALS:
        return f"{where}: scored on {trials}, fewer than {ENOUGH_TRIALS}; another draw of trials can change the order."
    return None
