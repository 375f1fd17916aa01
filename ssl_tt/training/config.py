"""Settings of training, probing and comparing, and the recipes made of them; free of torch."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.data.config import DataConfig
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.encoder.config import EncoderConfig
from ssl_tt.objectives.config import ObjectiveConfig
from ssl_tt.recipe import Settings, changed

# A name of the user's that also names a folder.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class TrainingConfig(Settings):
    """The training loop."""

    steps: Annotated[int, Field(ge=1)] = 10_000
    """Optimizer steps in all."""
    batch_windows: Annotated[int, Field(ge=1)] = 16
    """Windows (each with every speaker's channel) for each optimizer step, over all processes and accumulation."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are summed into one optimizer step; must divide `batch_windows`."""
    learning_rate: Annotated[float, Field(gt=0)] = 4e-4
    """Peak learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay."""
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    """Steps of linear warm-up, before the cosine to zero."""
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Arithmetic of the forward pass; weights and optimizer stay in fp32."""
    swap_channels: bool = True
    """Swap the speakers' channels of a window at random."""
    validate_every_steps: Annotated[int, Field(ge=1)] = 500
    """Steps between validations."""
    validation_windows: Annotated[int, Field(ge=1)] = 64
    """Windows of a validation, always the same."""
    save_every_steps: Annotated[int, Field(ge=1)] = 500
    """Steps between checkpoints."""
    log_every_steps: Annotated[int, Field(ge=1)] = 20
    """Steps between lines of the log."""
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that read audio beside the training process; the windows are the same with any number."""

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        if self.batch_windows % self.accumulation:
            raise ValueError(f"accumulation {self.accumulation} must divide batch_windows {self.batch_windows}")
        return self


class ProbeConfig(Settings):
    """Linear probes on frozen features of both channels, and the baselines beside them."""

    tasks: tuple[Literal["shift_hold", "future_activity", "voice_activity", "speaker", "phone"], ...] = (
        "shift_hold",
        "future_activity",
    )
    """Tasks to score: two of turn-taking, and what is kept of a channel's frame: whether it speaks, who it is, and
    which phone it is, where phones.jsonl beside the manifest tells."""
    preset: Literal["inoue2024"] = "inoue2024"
    """Definition of the shift and hold events."""
    representations: tuple[str, ...] = ("encoder", "context", "codes", "latent", "bottom", "top")
    """Representations to probe, of those that an objective has."""
    baselines: tuple[Literal["majority", "activity_history", "logmel", "random"], ...] = (
        "majority",
        "activity_history",
        "logmel",
        "random",
    )
    """What every score stands beside."""
    pool_seconds: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Besides the last frame, means of the representation over the last so many seconds; the same for every encoder."""
    regularisation: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (
        1e-4,
        1e-3,
        1e-2,
        1e-1,
        1.0,
    )
    """Candidates of the inverse regularisation C, chosen by validation grouped by conversation."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Groups of that validation."""
    evaluate_on: Literal["test", "validation"] = "test"
    """Conversations that are scored. Choose hyperparameters on validation; probes are fitted on train either way."""
    frame_every_seconds: Annotated[float, Field(gt=0)] = 0.5
    """Step between the frames at which future activity is asked for."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Draws of conversations for the intervals."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence of the intervals."""


class Experiment(Settings):
    """What every experiment has: data, encoder and training."""

    name: Name
    """Name of the experiment; the run directory is checkpoints/NAME unless --out is given."""
    simulate: dict[Name, SimulateConfig] = Field(default_factory=dict)
    """Corpora to simulate if they are not there yet, by name."""
    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    training: TrainingConfig = TrainingConfig()


class PretrainRecipe(Experiment):
    """One encoder, one objective, one seed."""

    hints: ClassVar[Mapping[str, str]] = {
        key: "this recipe is one for `ssl-tt compare`; a recipe for `ssl-tt pretrain` has one objective and one seed"
        for key in ("objectives", "seeds", "probe")
    }

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the weights, the order of windows and every draw."""
    objective: ObjectiveConfig


class CompareRecipe(Experiment):
    """The same encoder, data, steps and seeds under several objectives, probed side by side."""

    hints: ClassVar[Mapping[str, str]] = {
        key: "this recipe is one for `ssl-tt pretrain`; a recipe for `ssl-tt compare` has `objectives` and `seeds`"
        for key in ("objective", "seed")
    } | {
        key: "this recipe is a study, which `ssl-tt compare` runs and `ssl-tt field` shows; take one without"
        for key in ("variants", "questions")
    }

    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1, 2)
    """Every objective is trained once for each seed."""
    objectives: Annotated[dict[Name, ObjectiveConfig], Field(min_length=1)]
    """Objectives to compare, by the name that the report shows."""
    budget: Literal["steps", "operations"] = "steps"
    """What pretraining may spend: `training.steps` for every objective, or for each as many steps as need the
    multiplications of `training.steps` steps of the first one."""
    probe: ProbeConfig = ProbeConfig()


class Question(Settings):
    """What some variants of a recipe are to tell."""

    asks: Annotated[str, Field(min_length=1)]
    """The question, in words."""
    variants: Annotated[tuple[Name, ...], Field(min_length=2)]
    """Variants that answer it; each is set against the first."""


class StudyRecipe(CompareRecipe):
    """A comparison and variants of it, which differ in what a question asks and share all else."""

    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=2)]
    """Tables of this recipe's fields that a variant changes, by its name; an empty one is the recipe itself."""
    questions: Annotated[dict[Name, Question], Field(min_length=1)]
    """Questions, by the name of their figure."""

    @model_validator(mode="after")
    def _questions_meet_variants(self) -> Self:
        asked = [variant for question in self.questions.values() for variant in question.variants]
        for name, question in self.questions.items():
            for variant in question.variants:
                if variant not in self.variants:
                    raise ValueError(
                        f"questions.{name} asks for variant {variant!r}, expected one of {', '.join(self.variants)}"
                    )
        if idle := [variant for variant in self.variants if variant not in asked]:
            raise ValueError(f"no question asks for variant {idle[0]!r}: add it to a question, or leave it out")
        return self

    def variant(self, name: str) -> CompareRecipe:
        """The recipe of a variant; InputError in one line for changes that are no recipe's."""
        return changed(self, self.variants[name], CompareRecipe, f"variants.{name}")
