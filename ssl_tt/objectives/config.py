"""Settings of the objectives; free of torch. `kind` alone tells one from another."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.recipe import Settings


class CPCConfig(Settings):
    """Contrastive predictive coding (van den Oord et al. 2018, arXiv 1807.03748)."""

    kind: Literal["cpc"] = "cpc"
    targets: Literal["encoder", "prelayer"] = "encoder"
    """What is predicted: the encoder's output as in the paper, or that of its strided pre-layer, which sees a few
    hundredths of a second. An output whose field is longer than the step ahead shares its input with the context, and
    is recognised by that alone."""
    context: Literal["lstm", "gru", "conv", "none"] = "lstm"
    """Context network over the encoder's output; `conv` is a stack of causal dilated residual blocks. With `none` the
    encoder's output itself is the context, as a long field allows; `targets` is then "prelayer"."""
    predict_from: Literal["own", "both"] = "own"
    """Whose contexts predict a channel's future: its own, or those of both speakers of the window."""
    context_channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels of the context network."""
    context_layers: Annotated[int, Field(ge=1, le=16)] = 1
    """Layers of the recurrent context, or residual blocks of the convolutional one (dilations 1, 3, 9, ...)."""
    steps: Annotated[int, Field(ge=1, le=200)] = 12
    """Number of prediction steps H."""
    step_frames: Annotated[int, Field(ge=1, le=100)] = 1
    """Frames between one prediction step and the next: step h predicts frame t + h * step_frames."""
    negatives: Literal["sequence", "other_channel", "same_conversation", "other_conversation", "batch", "all_ranks"] = (
        "sequence"
    )
    """Where negatives are drawn from; the positive is never among them."""
    negative_count: Annotated[int, Field(ge=1, le=8192)] = 128
    """Negatives for each positive."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Scores are divided by this before the softmax."""

    @model_validator(mode="after")
    def _context_is_no_target(self) -> Self:
        if self.context == "none" and self.targets == "encoder":
            raise ValueError('context "none" would predict the encoder\'s output from itself: give targets "prelayer"')
        return self


class VQVAEConfig(Settings):
    """Vector-quantised autoencoder (van den Oord et al. 2017, arXiv 1711.00937) on log-mel, with EMA codebook."""

    kind: Literal["vqvae"] = "vqvae"
    codes: Annotated[int, Field(ge=2, le=65536)] = 512
    """Codebook size K."""
    code_channels: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels of a code."""
    commitment: Annotated[float, Field(ge=0)] = 0.25
    """Weight of the commitment loss."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the codebook's moving averages, for each optimizer step."""
    revive_below: Annotated[float, Field(ge=0)] = 0.1
    """A code whose averaged count falls below this is re-seeded from the batch, and both its averages are reset."""
    decoder_channels: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Channels inside the decoder; those of the encoder if not given."""


ObjectiveConfig = Annotated[CPCConfig | VQVAEConfig, Field(discriminator="kind")]
