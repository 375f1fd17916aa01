"""Settings of the objectives; free of torch. `kind` alone tells one from another."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.data.config import AugmentationConfig, Probability
from ssl_tt.encoder.config import Dilation
from ssl_tt.recipe import Settings

StepFrames = Annotated[int, Field(ge=1, le=100)]


class ContextConfig(Settings):
    """What is made of the encoder's output by those who predict."""

    context: Literal["lstm", "gru", "conv", "none"] = "lstm"
    """Context network over the encoder's output; `conv` is a stack of causal dilated residual blocks. With `none` the
    encoder's output itself is the context, as a long field allows; `targets` of CPC is then "prelayer"."""
    context_channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels of the context network."""
    context_layers: Annotated[int, Field(ge=1, le=16)] = 1
    """Layers of the recurrent context, or residual blocks of the convolutional one (dilations 1, 3, 9, ...)."""


class QuantizerConfig(Settings):
    """Codebook of a vector quantiser."""

    codes: Annotated[int, Field(ge=2, le=65536)] = 512
    """Codebook size K, of each group."""
    code_channels: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels of a code, of all groups together."""
    groups: Annotated[int, Field(ge=1, le=64)] = 1
    """Equal parts that the channels are split into, each with a codebook of its own (product quantisation); must divide
    `code_channels`."""
    codebook: Literal["ema", "learned"] = "ema"
    """What moves the codes: moving averages of the inputs given to them, or a loss of their own and the optimizer."""
    codebook_start: Literal["samples", "kmeans"] = "samples"
    """First codes: random inputs of the first batch, or their k-means."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """What is nearest. With `cosine` inputs and codes are scaled to length 1 (of each group)."""
    commitment: Annotated[float, Field(ge=0)] = 0.25
    """Weight of the commitment loss."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the codebook's moving averages, for each optimizer step; of the counts alone where it is learned."""
    revive_below: Annotated[float, Field(ge=0)] = 0.1
    """A code whose averaged count falls below this is re-seeded from the batch, and its averages are reset."""
    time_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability, while training, that a frame's code gives way to that of the frame before (0 for none)."""

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        if self.code_channels % self.groups:
            raise ValueError(
                f"groups {self.groups} must divide code_channels {self.code_channels}: choose another of the two"
            )
        return self


class _Contrast(ContextConfig):
    """What CPC and CPC v2 have in common."""

    targets: Literal["encoder", "prelayer"] = "encoder"
    """What is predicted: the encoder's output as in the paper, or that of its strided pre-layer, which sees a few
    hundredths of a second. An output whose field is longer than the step ahead shares its input with the context, and
    is recognised by that alone."""
    predict_from: Literal["own", "both"] = "own"
    """Whose contexts predict a channel's future: its own, or those of both speakers of the window."""
    steps: Annotated[int, Field(ge=1, le=200)] = 12
    """Number of prediction steps H, of each horizon where there are several."""
    predictor: Literal["linear", "mlp", "recurrent", "transformer"] = "linear"
    """What makes step h of the context, before the linear map of that step: nothing, as in the paper; a hidden layer of
    its own; a recurrent cell that goes on from step h - 1; or a causal transformer layer of its own."""
    attention_frames: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Frames that a transformer predictor attends to, the newest and those before it; 128 if not given."""
    negatives: Literal["sequence", "other_channel", "same_conversation", "other_conversation", "batch", "all_ranks"] = (
        "sequence"
    )
    """Where negatives are drawn from; the positive is never among them."""
    negative_count: Annotated[int, Field(ge=1, le=8192)] = 128
    """Negatives for each positive."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Scores are divided by this before the softmax."""
    speech_only: bool = False
    """Predict only frames in which their channel speaks, and draw negatives only from such: silence is easily told from
    speech, and takes much of each channel of a conversation. What predicts them may be silent."""
    augment_past: AugmentationConfig = AugmentationConfig()
    """What is done to the audio that predicts, in training. If the past or the future is augmented, each window is
    encoded twice, which costs twice."""
    augment_future: AugmentationConfig = AugmentationConfig()
    """What is done to the audio that is predicted, drawn independently of the past, in training."""
    quantizer: QuantizerConfig | None = None
    """Codebook through which the targets go, negatives among them, as a table of its own; without it they are as the
    network gives them. With `targets` "encoder" the context network reads the codes too (VQ-CPC)."""

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.attention_frames is not None and self.predictor != "transformer":
            raise ValueError(
                f'attention_frames is for predictor = "transformer", given with predictor = "{self.predictor}": drop it'
            )
        if self.context == "none" and self.targets == "encoder":
            raise ValueError('context "none" would predict the encoder\'s output from itself: give targets "prelayer"')
        if self.quantizer is not None and self.quantizer.time_jitter:
            raise ValueError(
                f"quantizer.time_jitter {self.quantizer.time_jitter:g} is for a decoder, and contrast has none: drop it"
            )
        return self

    def _every(self, frames: int) -> tuple[int, ...]:
        return tuple(range(frames, self.steps * frames + 1, frames))


class CPCConfig(_Contrast):
    """Contrastive predictive coding (van den Oord et al. 2018, arXiv 1807.03748)."""

    kind: Literal["cpc"] = "cpc"
    step_frames: StepFrames = 1
    """Frames between one prediction step and the next: step h predicts frame t + h * step_frames."""

    @property
    def frames_ahead(self) -> tuple[tuple[int, ...], ...]:
        """Frames from the context to each step, of the one horizon."""
        return (self._every(self.step_frames),)


class IndependentAugmentation(AugmentationConfig):
    """What CPC v2 does to audio unless the recipe says otherwise: all but the room, which costs most."""

    noise_probability: Probability = 0.5
    gain_probability: Probability = 0.5
    band_probability: Probability = 0.25
    mu_law_probability: Probability = 0.25
    dropout_probability: Probability = 0.5


class CPC2Config(_Contrast):
    """CPC v2 (Hénaff et al. 2019, arXiv 1905.09272) for audio: CPC at several horizons, of augmented audio."""

    kind: Literal["cpc2"] = "cpc2"
    horizons: Annotated[tuple[StepFrames, ...], Field(min_length=1, max_length=16)] = (1, 4, 16)
    """Frames between one step and the next, of each horizon: step h of horizon k predicts frame t + h * k. Each horizon
    has predictors of its own; rising, shortest first."""
    steps: Annotated[int, Field(ge=1, le=200)] = 3
    augment_past: IndependentAugmentation = IndependentAugmentation()
    augment_future: IndependentAugmentation = IndependentAugmentation()

    @model_validator(mode="after")
    def _horizons_rise(self) -> Self:
        if any(later <= earlier for earlier, later in pairwise(self.horizons)):
            raise ValueError(f"horizons {list(self.horizons)}: give each once, the shortest first")
        return self

    @property
    def frames_ahead(self) -> tuple[tuple[int, ...], ...]:
        """Frames from the context to each step, of each horizon."""
        return tuple(self._every(frames) for frames in self.horizons)


ContrastConfig = CPCConfig | CPC2Config


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
    input_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """While training, the samples before are heard through noise of up to this standard deviation on the scale of the
    mu-law from -1 to 1, so that a decoder that hears its own samples finds its way back (arXiv 1810.11846)."""
    speaker_channels: Annotated[int, Field(ge=0, le=4096)] = 0
    """Channels of what tells the decoder who speaks: a linear map of the window's mean log-mel, so that the codes need
    not; 0 for none."""

    @model_validator(mode="after")
    def _mixtures_are_read(self) -> Self:
        if self.mixtures is not None and self.amplitudes != "logistic":
            raise ValueError('mixtures is read with amplitudes "logistic" alone: leave it out, or choose "logistic"')
        return self


DecoderConfig = LogMelDecoderConfig | WaveNetConfig


class VQVAEConfig(QuantizerConfig):
    """Vector-quantised autoencoder (van den Oord et al. 2017, arXiv 1711.00937) on log-mel or samples."""

    kind: Literal["vqvae"] = "vqvae"
    decoder_channels: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Channels inside the decoder; those of the encoder if not given."""
    decoder: Annotated[DecoderConfig, Field(discriminator="kind", json_schema_extra={"default_kind": "logmel"})] = (
        LogMelDecoderConfig()
    )
    """What is rebuilt: the log-mel, or the samples."""


class VQVAE2Config(QuantizerConfig):
    """VQ-VAE-2 (Razavi et al. 2019, arXiv 1906.00446) on log-mel: a slow level of codes above a fast one.

    The settings of the codebook are those of both levels.
    """

    kind: Literal["vqvae2"] = "vqvae2"
    top_stride: Annotated[int, Field(ge=2, le=64)] = 4
    """Frames of the encoder for each frame of the top level."""
    top_blocks: Annotated[int, Field(ge=1, le=16)] = 2
    """Residual blocks of kernel 3 (dilations 1, 3, 9, ...) of the top level, and as many that decode it again."""
    top_channels: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Channels inside the top level; those of the encoder if not given."""
    decoder_channels: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Channels inside the decoder; those of the encoder if not given."""


class VAEConfig(Settings):
    """Variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114) on log-mel: a Gaussian latent a frame."""

    kind: Literal["vae"] = "vae"
    latent_channels: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels of the latent."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the divergence from the unit Gaussian; with 1 the loss is the evidence lower bound."""
    beta_warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps over which that weight rises linearly from 0; validation always has all of it."""
    free_nats: Annotated[float, Field(ge=0)] = 0.0
    """Divergence of each latent channel, nats a frame, that costs nothing ("free bits")."""
    decoder_channels: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Channels inside the decoder; those of the encoder if not given."""


class APCConfig(ContextConfig):
    """Autoregressive predictive coding (Chung et al. 2019, arXiv 1904.03240) of the log-mel."""

    kind: Literal["apc"] = "apc"
    steps_ahead: Annotated[int, Field(ge=1, le=200)] = 3
    """Encoder frames between the context and the frame it predicts; the next frame is 1."""


class Weighted(Settings):
    """What a part of a joint objective has beside the settings of its kind."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    """The part's loss is multiplied by this."""


class CPCPart(Weighted, CPCConfig):
    """CPC as a part."""


class CPC2Part(Weighted, CPC2Config):
    """CPC v2 as a part."""


class VQVAEPart(Weighted, VQVAEConfig):
    """VQ-VAE as a part."""


class VQVAE2Part(Weighted, VQVAE2Config):
    """VQ-VAE-2 as a part."""


class VAEPart(Weighted, VAEConfig):
    """VAE as a part."""


class APCPart(Weighted, APCConfig):
    """APC as a part."""


Part = Annotated[CPCPart | CPC2Part | VQVAEPart | VQVAE2Part | VAEPart | APCPart, Field(discriminator="kind")]


class JointConfig(Settings):
    """Several objectives on one encoder: the weighted sum of their losses."""

    kind: Literal["joint"] = "joint"
    parts: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], Part]
    """The objectives by names of your own, such as [objective.parts.contrast] with kind = "cpc" and a weight."""

    @model_validator(mode="after")
    def _several(self) -> Self:
        if len(self.parts) < 2:
            raise ValueError(
                f'parts holds {len(self.parts)}, expected two or more: a single objective needs no kind "joint"'
            )
        return self


ObjectiveConfig = Annotated[
    CPCConfig | CPC2Config | VQVAEConfig | VQVAE2Config | VAEConfig | APCConfig | JointConfig,
    Field(discriminator="kind"),
]


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
