"""Settings of training, probing and comparing, and the recipes made of them; free of torch."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.data.config import DataConfig
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.encoder.config import EncoderConfig
from ssl_tt.errors import InputError
from ssl_tt.objectives.config import ObjectiveConfig
from ssl_tt.recipe import Settings, changed, flatten
from ssl_tt.turns.config import EventsTargetConfig, FCHeadConfig, HeadConfig, TargetConfig

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
    patience: Annotated[int, Field(ge=0)] = 0
    """Training ends early after so many validations in a row without a new best; 0: never."""
    save_every_steps: Annotated[int, Field(ge=1)] = 500
    """Steps between checkpoints."""
    keep_checkpoints: Annotated[int, Field(ge=1, le=1000)] = 2
    """Newest checkpoints that are kept; the best is kept beside them."""
    log_every_steps: Annotated[int, Field(ge=1)] = 20
    """Steps between lines of the log."""
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that read audio beside the training process; the windows are the same with any number."""

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        if self.batch_windows % self.accumulation:
            raise ValueError(f"accumulation {self.accumulation} must divide batch_windows {self.batch_windows}")
        return self


class HeadTraining(TrainingConfig):
    """A head and how it is trained: on a frozen encoder, together with a pretrained one, or with one from scratch.

    Some of the training conversations are held out, by dialogue: the best step, the early end and the threshold are
    chosen on them.
    """

    head: HeadConfig = FCHeadConfig()
    target: Annotated[TargetConfig, Field(json_schema_extra={"default_kind": "events"})] = EventsTargetConfig()
    """What it is trained for."""
    mode: Literal["frozen", "finetune", "scratch"] = "frozen"
    """`frozen`: the encoder stays as it is, its features are computed once; `finetune`: a pretrained encoder learns
    too; `scratch`: an untrained encoder and the head learn together."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Length of a training window, seconds, longer than what the target looks ahead; `data.window_seconds` if none."""
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the training dialogues that are held out."""
    encoder_learning_rate_scale: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Of mode `finetune`: learning rate of the encoder's output layer, relative to the head's."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of mode `finetune`: the rate is multiplied by this for each layer further from the head: output layer, blocks
    from last to first, pre-layers with the front end."""
    head_steps: Annotated[int, Field(ge=0)] = 0
    """Of mode `finetune`: first steps in which the head alone learns."""
    unfreeze_every_steps: Annotated[int, Field(ge=0)] = 0
    """Of mode `finetune`: after `head_steps` one more layer learns each so many steps, from the output layer down; 0:
    all at once."""
    steps: Annotated[int, Field(ge=1)] = 600
    """Optimizer steps in all."""
    batch_windows: Annotated[int, Field(ge=1)] = 8
    """Windows (each with both speakers' channels) for each optimizer step, over all processes and accumulation."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate of AdamW."""
    warmup_steps: Annotated[int, Field(ge=0)] = 40
    """Steps of linear warm-up, before the cosine to zero."""
    precision: Literal["bf16", "fp32"] = "fp32"
    """Arithmetic of the forward pass; weights and optimizer stay in fp32."""
    validate_every_steps: Annotated[int, Field(ge=1)] = 50
    """Steps between validations."""
    patience: Annotated[int, Field(ge=0)] = 4
    """Training ends early after so many validations in a row without a new best; 0: never."""

    @model_validator(mode="after")
    def _fields_fit_the_mode(self) -> Self:
        if self.mode != "finetune":
            for name in ("encoder_learning_rate_scale", "layer_decay", "head_steps", "unfreeze_every_steps"):
                given, left = getattr(self, name), type(self).model_fields[name].default
                if given != left:
                    raise ValueError(
                        f'{name} {given:g} with mode "{self.mode}": it is of mode "finetune" alone; leave it out, or '
                        "change the mode"
                    )
        if self.head_steps >= self.steps:
            raise ValueError(
                f"head_steps {self.head_steps} of {self.steps} steps: the encoder would never learn; lower head_steps, "
                'or take mode "frozen"'
            )
        return self


class ProbeConfig(Settings):
    """Linear probes on frozen features of both channels, and the baselines beside them."""

    tasks: tuple[
        Literal[
            "shift_hold",
            "predict_shift",
            "predict_backchannel",
            "short_long",
            "future_activity",
            "voice_activity",
            "speaker",
            "phone",
        ],
        ...,
    ] = ("shift_hold", "future_activity")
    """Tasks to score: of turn-taking (shift or hold at a silence; whether a shift or a backchannel is about to come;
    whether who has begun to speak will go on; who speaks in the next 3 s), and what is kept of a channel's frame:
    whether it speaks, who it is, and which phone it is, where phones.jsonl beside the manifest tells."""
    preset: Literal["inoue2024", "vap2022", "vap2023", "vap_event"] = "inoue2024"
    """Definition of the shift and hold events."""
    ahead_preset: Literal["vap2022", "vap2023"] = "vap2022"
    """Definition of the events of `predict_shift`, `predict_backchannel` and `short_long`."""
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


class RunRecipe(Experiment):
    """One training run."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the weights, the order of windows and every draw."""


class PretrainRecipe(RunRecipe):
    """One encoder, one objective, one seed."""

    hints: ClassVar[Mapping[str, str]] = {
        key: "this recipe is one for `ssl-tt compare`; a recipe for `ssl-tt pretrain` has one objective and one seed"
        for key in ("objectives", "seeds", "probe")
    }

    objective: ObjectiveConfig


class FinetuneRecipe(RunRecipe):
    """One head on one encoder, one seed."""

    hints: ClassVar[Mapping[str, str]] = {
        key: "a recipe for `ssl-tt finetune` has one head under `training`, and the `run` whose encoder it reads"
        for key in ("objective", "objectives", "seeds", "heads", "probe")
    }

    run: str | None = None
    """Run directory of the pretrained encoder; none: an untrained one."""
    training: HeadTraining = HeadTraining()

    @model_validator(mode="after")
    def _run_fits_the_mode(self) -> Self:
        if self.training.mode == "finetune" and self.run is None:
            raise ValueError('training.mode "finetune" without a run: name one, or take mode "scratch"')
        if self.training.mode == "scratch" and self.run is not None:
            raise ValueError('training.mode "scratch" with a run: leave the run out, or take mode "finetune"')
        return self


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
    heads: dict[Name, HeadTraining] = Field(default_factory=dict)
    """Heads to train on every encoder and seed, by the name that the report shows; those of mode `scratch` once a seed,
    as the system `scratch`, the frozen ones on the untrained encoder too."""


class Question(Settings):
    """What some variants of a recipe are to tell."""

    asks: Annotated[str, Field(min_length=1)]
    """The question, in words."""
    variants: Annotated[tuple[Name, ...], Field(min_length=2)]
    """Variants that answer it; each is set against the first."""
    along: Annotated[str, Field(min_length=1)] | None = None
    """A field such as "data.labelled_share" that is another number in each of these variants: scores are drawn as
    curves along it, baselines too, and variants may then score other conversations."""


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

    def along(self, question: str) -> dict[str, float]:
        """Value of the field that a question goes along, by variant; empty where it goes along none.

        InputError unless it is a number in each of the variants, and another one in each.
        """
        asked = self.questions[question]
        if asked.along is None:
            return {}
        found: dict[str, float] = {}
        for variant in asked.variants:
            fields = flatten(self.variant(variant))
            where = f"questions.{question}: along {asked.along!r}"
            if asked.along not in fields:
                near = get_close_matches(asked.along, fields, n=1)
                raise InputError(
                    f"{where}: no field of variant {variant}{f'; did you mean {near[0]!r}?' if near else ''}"
                )
            value = fields[asked.along]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"{where}: {json.dumps(value)} in variant {variant}, expected a number")
            if twin := [name for name, other in found.items() if other == value]:
                raise InputError(
                    f"{where}: {value:g} in {twin[0]} and in {variant}, expected another number in each variant"
                )
            found[variant] = value
        return found
