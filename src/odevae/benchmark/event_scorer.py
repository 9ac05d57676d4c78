"""Event scores of predictions in a benchmark: what training trials say of each neuron, and the calibration."""

from dataclasses import dataclass

import numpy as np

from odevae.data.trials import Trials
from odevae.events import DENSE, Null, calibration, event_scores, events_in
from odevae.protocols.kernel import silent_frames


@dataclass(frozen=True)
class EventScorer:
    """Scores events of test trials; everything is fitted on training trials and calibrated on validation trials.

    Attributes:
        kind: ``spikes`` or ``sparse``, see `odevae.events.KINDS`.
        silent: frames of silence before an event is new, see `odevae.protocols.kernel.silent_frames`.
        train, validation: trials of all neurons.
        null: rate and size of the events of each neuron in training trials.
    """

    kind: str
    silent: int
    train: Trials
    validation: Trials
    null: Null

    @classmethod
    def of(cls, kind: str, kernel_frames: int, train: Trials, validation: Trials) -> "EventScorer | None":
        """The scorer of a recording; None if it has no events."""
        if kind == DENSE:
            return None
        return cls(kind, silent_frames(kernel_frames), train, validation, Null.of(train.values[train.mask], kind))

    def events(self, values: np.ndarray) -> np.ndarray:
        """Events in recorded units, of any shape."""
        return events_in(values, self.kind)

    def scores_of_predictions(
        self,
        test: Trials,
        predicted: np.ndarray,
        counted: np.ndarray,
        of_validation: np.ndarray,
        counted_in_validation: np.ndarray,
    ) -> dict[str, float]:
        """Scores of point predictions in recorded units.

        A prediction is divided by the mean size of the neuron's events, which makes an expected activity an expected
        number of events; one monotone map for all neurons, fitted on validation trials, makes that a rate.

        Args:
            test: trials.
            predicted: ``(M, N)``, of their `counted` bins ``(B, L)``.
            of_validation, counted_in_validation: the same of the validation trials.
        """
        known = self.events(self.validation.values[counted_in_validation])
        calibrate = calibration(of_validation / self.null.size, known)
        scaled, happened = predicted / self.null.size, self.events(test.values[counted])
        return event_scores(happened, scaled, calibrate(scaled), self.null.rate, self.kind)

    def scores_of_rates(self, test: Trials, rates: np.ndarray, counted: np.ndarray) -> dict[str, float]:
        """Scores of probabilities or expected counts ``(M, N)`` of `counted` bins ``(B, L)``, as they are."""
        return event_scores(self.events(test.values[counted]), rates, rates, self.null.rate, self.kind)

    def scores_of_readout(
        self, values: np.ndarray, read: np.ndarray, known: np.ndarray, read_known: np.ndarray, neurons: np.ndarray
    ) -> dict[str, float]:
        """Scores of a readout of some neurons, calibrated on validation trials.

        Args:
            values, known: ``(M, C)``, recorded units, in test and in validation trials.
            read, read_known: what was read for them.
            neurons: ``(N,)`` bool, which ones.
        """
        calibrate = calibration(read_known, self.events(known))
        return event_scores(self.events(values), read, calibrate(read), self.null.rate[neurons], self.kind)
