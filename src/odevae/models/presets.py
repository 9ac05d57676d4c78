"""The models by name, as data: which parts, which loss weights, which optimiser settings.

``v1`` to ``v6`` follow the source of the paper as it was really built, not the paper's text where the two differ.
"""

from dataclasses import asdict, dataclass, fields, replace

from odevae.errors import OdevaeError


@dataclass(frozen=True)
class ModelSpec:
    """Everything that makes a model and its training, but for the latent dimension, lambda_smooth and the seed.

    Attributes:
        encoder, field, decoder, solver: names of parts, see `encoders.ENCODERS`, `dynamics.FIELDS`,
            `decoders.DECODERS` and `solvers.METHODS`.
        time_dependent: the field sees the time too.
        second_order: the state has velocities, and the field gives their change.
        observations: what the model sees, see `odevae.protocols.observations`.
        epochs: passes over the training sequences.
        batch_size: sequences a step; under the published protocol the last incomplete batch is dropped.
        learning_rate, weight_decay: of Adam, weight decay coupled (added to the gradient).
        beta, beta_warmup_epochs: weight of the KL term and the epochs over which it ramps up (eq. 12).
        lambda_transition, transition_warmup_epochs: the same for the transition term (eq. 10).
        lambda_lle: weight of the soft LLE term (eq. 11).
        validation_space: where the validation R2 is computed that chooses the best epoch: ``pca`` or ``raw``.
        patience: stop after this many epochs without a better validation R2; 0 never stops early.
    """

    encoder: str = "first_frame"
    field: str = "mlp"
    decoder: str = "mlp"
    time_dependent: bool = False
    second_order: bool = False
    solver: str = "dopri5"
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

    def as_dict(self) -> dict:
        return asdict(self)


_V5 = ModelSpec(field="moe", decoder="moe", observations="pca-baseline", lambda_transition=0.01, lambda_lle=0.01)

PRESETS = {
    # The model behind Table 1.
    "v1": ModelSpec(),
    # Mixture field and a narrower decoder; meant for the protocol published_v2, which splits before it fits.
    "v2": ModelSpec(field="gated", decoder="narrow_mlp"),
    # Mixture of four experts, baseline correction; every decoder can be chosen, v1's is the plain one.
    "v3": ModelSpec(field="moe", observations="pca-baseline"),
    # As v3 with the decoder that it introduced (mended, see `decoders.LocalAttentionDecoder`).
    "v4": ModelSpec(field="moe", decoder="local_attention", observations="pca-baseline"),
    # The paper's main model with the settings of its E65 runs (section 6.1).
    "v5": _V5,
    # v5 on z-scored neurons instead of components.
    "v6": replace(_V5, observations="neurons-baseline"),
}


def model_spec(name: str, models: dict[str, dict]) -> ModelSpec:
    """The settings of a model: a preset, or an entry of the config's ``models`` that changes a preset.

    Args:
        name: of the model.
        models: entries by name, each ``{"preset": ..., <setting>: <value>, ...}``.

    Raises:
        OdevaeError: if the name is neither, or a preset or setting does not exist.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name not in models:
        known = ", ".join([*PRESETS, *models])
        raise OdevaeError(f"config: model {name!r} is neither a preset nor an entry of 'models'; known: {known}.")
    changes = dict(models[name])
    preset = changes.pop("preset")
    if preset not in PRESETS:
        raise OdevaeError(f"config: models.{name}: preset {preset!r} does not exist; use one of {', '.join(PRESETS)}.")
    unknown = set(changes) - {f.name for f in fields(ModelSpec)}
    if unknown:
        raise OdevaeError(f"config: models.{name}: no such setting: {', '.join(sorted(unknown))}.")
    return replace(PRESETS[preset], **changes)
