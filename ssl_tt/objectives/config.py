"""Settings of the objectives; free of torch. `kind` alone tells one from another."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.encoder.config import Dilation
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


class LogMelDecoderConfig(Settings):
    """A decoder that mirrors the encoder and rebuilds the normalised log-mel; the loss is its mean squared error."""

    kind: Literal["logmel"] = "logmel"


class WaveNetConfig(Settings):
    """A decoder that rebuilds the samples, one after another (WaveNet, arXiv 1609.03499), from the codes and the
    samples before; the loss is -log p of a sample, nats."""

    kind: Literal["wavenet"] = "wavenet"
    amplitudes: Literal["mulaw", "logistic"] = "mulaw"
    """`mulaw`: a softmax over the 256 classes of ITU-T G.711; `logistic`: a mixture of logistics over the 65,536 levels
    of 16-bit audio (PixelCNN++, arXiv 1701.05517)."""
    mixtures: Annotated[int, Field(ge=1, le=100)] | None = None
    """Logistics of the mixture, 10 if not given; with `logistic` alone."""
    kernel: Annotated[int, Field(ge=2, le=64)] = 2
    """Kernel of the dilated layer of each block, samples."""
    dilations: Annotated[tuple[Dilation, ...], Field(min_length=1, max_length=64)] = (
        1,
        2,
        4,
        8,
        16,
        32,
        64,
        128,
        256,
        512,
    )
    """Dilation of each block, samples; with kernel 2 the next sample depends on the 1,024 before it."""
    cycles: Annotated[int, Field(ge=1, le=16)] = 2
    """How many times the dilations are gone through."""
    train_frames: Annotated[int, Field(ge=1, le=1_000_000)] = 25
    """Frames of each window, in one piece drawn at random, whose samples a training step decodes; or all there are."""
    speaker_channels: Annotated[int, Field(ge=0, le=4096)] = 0
    """Channels of what tells the decoder who speaks: a linear map of the window's mean log-mel, so that the codes need
    not; 0 for none."""

    @model_validator(mode="after")
    def _mixtures_are_read(self) -> Self:
        if self.mixtures is not None and self.amplitudes != "logistic":
            raise ValueError('mixtures is read with amplitudes "logistic" alone: leave it out, or choose "logistic"')
        return self


DecoderConfig = LogMelDecoderConfig | WaveNetConfig


class PriorConfig(Settings):
    """A causal gated stack over the codes of a finished run: p(code | codes before it) (arXiv 1711.00937, section 3.3).

    Trained apart from the run, which stays as it is.
    """

    channels: Annotated[int, Field(ge=1, le=4096)] = 128
    """Channels inside the prior."""
    kernel: Annotated[int, Field(ge=2, le=64)] = 2
    """Kernel of the dilated layer of each block, frames of codes."""
    dilations: Annotated[tuple[Dilation, ...], Field(min_length=1, max_length=64)] = (1, 2, 4, 8, 16, 32)
    """Dilation of each block, frames; with kernel 2 the next code depends on the 64 before it."""
    steps: Annotated[int, Field(ge=1)] = 500
    """Optimizer steps."""
    batch_sequences: Annotated[int, Field(ge=1)] = 16
    """Sequences of codes, a training window's channel each, for each step."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Peak learning rate of AdamW; a tenth of the steps warms up to it, half a cosine ends at zero."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the weights, the order of the sequences and the draws of a sample."""


class VQVAEConfig(Settings):
    """Vector-quantised autoencoder (van den Oord et al. 2017, arXiv 1711.00937), with EMA codebook."""

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
    decoder: Annotated[DecoderConfig, Field(discriminator="kind", json_schema_extra={"default_kind": "logmel"})] = (
        LogMelDecoderConfig()
    )
    """What is rebuilt: the log-mel, or the samples."""


ObjectiveConfig = Annotated[CPCConfig | VQVAEConfig, Field(discriminator="kind")]
