"""Which channels of a recording a model sees."""

from dataclasses import dataclass

from odevae.errors import OdevaeError

# v3 and later subtract the mean of a sequence's first bins (paper, section 6.1; the number from the source).
BASELINE_BINS = 5


@dataclass(frozen=True)
class Observations:
    """What a model sees: principal components or neurons, z-scored, with or without baseline correction."""

    space: str
    baseline: bool

    @classmethod
    def parse(cls, name: str) -> "Observations":
        """Read ``pca``, ``neurons``, ``pca-baseline`` or ``neurons-baseline``."""
        if name not in ("pca", "neurons", "pca-baseline", "neurons-baseline"):
            raise OdevaeError(f"observations {name!r} are unknown; use pca, neurons, pca-baseline or neurons-baseline.")
        space, _, correction = name.partition("-")
        return cls(space=space, baseline=bool(correction))
