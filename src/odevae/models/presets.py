"""The models by name, as data: which parts, which loss weights, which optimiser settings.

``v1`` to ``v6`` follow the paper's code where its text differs. Only the solver is another one: `DenseRK4` is faster
and errs less than the paper's ``dopri5``, and the tables stay where they were (docs/speed.md).
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from odevae.errors import OdevaeError


@dataclass(frozen=True)
class ModelSpec:
    """All settings of a model and its training, except the latent dimension, lambda_smooth and the seed.

    Attributes:
        encoder, field, decoder, solver: names of parts, see `encoders.ENCODERS`, `dynamics.FIELDS`,
            `decoders.DECODERS` and `solvers.SOLVERS`.
        time_dependent: the field also sees the time.
        second_order: the state also has velocities, and the field gives their change.
        observations: what the model sees, see `odevae.protocols.observations`.
        epochs: passes over the training sequences.
        batch_size: sequences in one step; under the published protocol the last incomplete batch is dropped.
        learning_rate, weight_decay: of Adam; weight decay is coupled (added to the gradient).
        beta, beta_warmup_epochs: weight of the KL term and the epochs over which it grows to that value (eq. 12).
        lambda_transition, transition_warmup_epochs: the same for the transition term (eq. 10).
        lambda_lle: weight of the soft LLE term (eq. 11).
        validation_space: ``pca`` or ``raw``, the space of the validation R2 that chooses the best epoch.
        patience: stop after this many epochs without a better validation score; with 0 training never stops early.
        time_constant: above 0 the field ends in a tanh divided by one learned time constant, which starts at this value
            (in units of the longest trial), see `dynamics.BoundedSpeed`; with 0 it ends in a LayerNorm.
        field_start: factor on the field's output before training.
        learning_rate_warmup_epochs: the learning rate grows linearly over so many epochs.
        learning_rate_end: its share in the last epoch, reached on a half cosine.
        horizon_start, horizon_epochs: share of each trial, from its onset, that is trained on at first, and the epochs
            over which it grows to the whole trial.
        skip_steps: so many training steps may fail (no finite loss, gradient or path) before the run has diverged. A
            failed step is skipped; after two in a row training goes back to the end of the last epoch. Each halves the
            learning rate until an epoch passes without one.
        weight_average: above 0 validation and checkpoints use a running mean of the weights of which this share stays
            at each step.
        select_by: ``r2`` or ``loss``, the validation score that chooses the best epoch.
        patience_after_warmup: patience begins when every weight, the learning rate and the horizon have grown up.
    """

    encoder: str = "first_frame"
    field: str = "mlp"
    decoder: str = "mlp"
    time_dependent: bool = False
    second_order: bool = False
    solver: str = "rk4_dense"
    observations: str = "pca"
    epochs: int = 150
    batch_size: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-5
    beta: float = 0.02
    beta_warmup_epochs: int = 30
    lambda_transition: float = 0.0
    transition_warmup_epochs: int = 30
    lambda_lle: float = 0.0
    validation_space: str = "pca"
    patience: int = 0
    time_constant: float = 0.0
    field_start: float = 1.0
    learning_rate_warmup_epochs: int = 0
    learning_rate_end: float = 1.0
    horizon_start: float = 1.0
    horizon_epochs: int = 0
    skip_steps: int = 0
    weight_average: float = 0.0
    select_by: str = "r2"
    patience_after_warmup: bool = False

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class ShootingSpec:
    """The preset ``shooting``, which chooses its own settings on validation trials (`odevae.training.shooting`).

    Attributes:
        preset: its name; no other preset has this attribute.
        epochs: at most so many passes over the training trials in each fit; with 0 as many as the settings have.
        observations: the preprocessing of its folds. The model itself takes the recorded units from them.
        batch_size: sequences in one batch of the published definition of R2; that of the other presets.
        validation_space, select_by: of the validation R2, and the score that chooses the best epoch, as in `ModelSpec`.
    """

    epochs: int = 0
    preset: str = "shooting"
    observations: ClassVar[str] = "neurons"
    batch_size: ClassVar[int] = 8
    validation_space: ClassVar[str] = "pca"
    select_by: ClassVar[str] = "loss"

    def as_dict(self) -> dict:
        return asdict(self)


Spec = ModelSpec | ShootingSpec
"""The settings of a run's model."""

_V5 = ModelSpec(field="moe", decoder="moe", observations="pca-baseline", lambda_transition=0.01, lambda_lle=0.01)

PRESETS = {
    # The model behind Table 1.
    "v1": ModelSpec(),
    # Mixture field and a narrower decoder, for the protocol published_v2, which splits before it fits.
    "v2": ModelSpec(field="gated", decoder="narrow_mlp"),
    # Mixture of four experts, baseline correction. Any decoder can be chosen; this is the plain one of v1.
    "v3": ModelSpec(field="moe", observations="pca-baseline"),
    # v3 with the local-attention decoder (corrected, see `decoders.LocalAttentionDecoder`).
    "v4": ModelSpec(field="moe", decoder="local_attention", observations="pca-baseline"),
    # The paper's main model with the settings of its E65 runs (section 6.1).
    "v5": _V5,
    # v5 on z-scored neurons instead of components.
    "v6": replace(_V5, observations="neurons-baseline"),
}

# The preset with a training of its own.
SHOOTING = ShootingSpec.preset
PRESET_NAMES = (*PRESETS, SHOOTING)

# What ``robust: true`` adds to a preset. docs/training.md has the source of each and what they change.
ROBUST: dict[str, Any] = {
    "time_constant": 0.5,
    "field_start": 0.1,
    "learning_rate_warmup_epochs": 5,
    "learning_rate_end": 0.05,
    "horizon_start": 0.25,
    "horizon_epochs": 20,
    "skip_steps": 20,
    "weight_average": 0.98,
    "select_by": "loss",
    "patience_after_warmup": True,
}


def model_spec(name: str, models: dict[str, dict]) -> Spec:
    """The settings of a model: a preset, or an entry of the config's ``models`` that changes a preset.

    Args:
        name: of the model.
        models: entries by name, each ``{"preset": ..., <setting>: <value>, ...}``; with ``"robust": True`` the settings
            that an entry does not give are those of `ROBUST` before those of its preset.

    Raises:
        OdevaeError: if the name is neither, or a preset or setting does not exist.
    """
    if name in PRESET_NAMES:
        return PRESETS.get(name, ShootingSpec())
    if name not in models:
        known = ", ".join([*PRESET_NAMES, *models])
        raise OdevaeError(f"config: model {name!r} is neither a preset nor an entry of 'models'; known: {known}.")
    changes: dict[str, Any] = dict(models[name])
    preset, robust = changes.pop("preset"), changes.pop("robust", False)
    if preset not in PRESET_NAMES:
        raise OdevaeError(
            f"config: models.{name}: preset {preset!r} does not exist; use one of {', '.join(PRESET_NAMES)}."
        )
    if preset == SHOOTING:
        if others := sorted(set(changes) - {"epochs"}) or ["robust"] * robust:
            raise OdevaeError(
                f"config: models.{name}: the preset {SHOOTING} chooses its settings itself, so it has no "
                f"{' and no '.join(others)}; leave out all but epochs."
            )
        return ShootingSpec(**changes)
    unknown = set(changes) - {f.name for f in fields(ModelSpec)}
    if unknown:
        raise OdevaeError(f"config: models.{name}: no such setting: {', '.join(sorted(unknown))}.")
    return replace(PRESETS[preset], **((ROBUST if robust else {}) | changes))


def spec_from(content: dict) -> Spec:
    """What `as_dict` of a spec gave, as in ``run.json``."""
    return ShootingSpec(**content) if "preset" in content else ModelSpec(**content)
