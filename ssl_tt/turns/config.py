"""Settings of the heads and of their targets; free of torch. `kind` alone tells one from another."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.recipe import Settings


class _HeadConfig(Settings):
    activity_history: bool = False
    """Beside the features, read who has spoken when: 11 numbers for each speaker, as of the baseline of that name."""


class LinearHeadConfig(_HeadConfig):
    """One linear layer on the features of both speakers: each adds its part, whatever the other's features are."""

    kind: Literal["linear"] = "linear"


class FCHeadConfig(_HeadConfig):
    """Fully connected layers on the features of both speakers, frame by frame."""

    kind: Literal["fc"] = "fc"
    channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels of each hidden layer."""
    layers: Annotated[int, Field(ge=1, le=16)] = 1
    """Hidden layers, each with a ReLU."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout after each hidden layer."""


class RNNHeadConfig(_HeadConfig):
    """A recurrent network over the features of both speakers: it remembers the conversation so far."""

    kind: Literal["rnn"] = "rnn"
    cell: Literal["lstm", "gru"] = "lstm"
    """Kind of recurrent cell."""
    channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels of each recurrent layer."""
    layers: Annotated[int, Field(ge=1, le=16)] = 1
    """Recurrent layers."""


HeadConfig = Annotated[LinearHeadConfig | FCHeadConfig | RNNHeadConfig, Field(discriminator="kind")]


PositiveWeight = Annotated[float, Field(gt=0, le=1000)]


class ActivityTargetConfig(Settings):
    """Current activity: whether each speaker is active, at every frame; an auxiliary, which foresees nothing."""

    kind: Literal["activity"] = "activity"
    positive_weight: PositiveWeight = 1.0
    """Weight of a frame with speech, against 1 of one without; 1 counts all frames alike."""


class FutureTargetConfig(Settings):
    """Future activity: which of the next 60 bins of 50 ms each speaker will fill, at every frame."""

    kind: Literal["future_activity"] = "future_activity"
    positive_weight: PositiveWeight = 1.0
    """Weight of an active bin, against 1 of one that is not; 1 counts all bins alike."""


class VAPTargetConfig(Settings):
    """Voice activity projection: which of four bins of the next 2 s each speaker will fill, at every frame."""

    kind: Literal["vap"] = "vap"
    form: Literal["discrete", "independent", "comparative"] = "discrete"
    """One of 256 states of both speakers; each bin by itself; or each speaker's share of the bins that are active."""
    positive_weight: PositiveWeight = 1.0
    """Weight of an active bin, against 1 of one that is not, where each is asked by itself: form "independent"."""

    @model_validator(mode="after")
    def _weighs_bins(self) -> Self:
        if self.positive_weight != 1 and self.form != "independent":
            raise ValueError(
                f'positive_weight {self.positive_weight:g} is for form = "independent", given with form = '
                f'"{self.form}", which asks no bin by itself: drop it'
            )
        return self


class EventsTargetConfig(Settings):
    """Shift against hold at the frames where the events of a preset ask for an answer; one logit a speaker: that the
    turn goes to the other. Both kinds weigh alike, however rare one is."""

    kind: Literal["events"] = "events"
    preset: Literal["inoue2024"] = "inoue2024"
    """Definition of the shift and hold events."""


TargetConfig = Annotated[
    ActivityTargetConfig | FutureTargetConfig | VAPTargetConfig | EventsTargetConfig, Field(discriminator="kind")
]
