"""Settings of the objectives; free of torch. `kind` alone tells one from another."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.data.config import AugmentationConfig, Probability
from ssl_tt.recipe import Settings

StepFrames = Annotated[int, Field(ge=1, le=100)]


class _Contrast(Settings):
    """What CPC and CPC v2 have in common."""

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

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.attention_frames is not None and self.predictor != "transformer":
            raise ValueError(
                f'attention_frames is for predictor = "transformer", given with predictor = "{self.predictor}": drop it'
            )
        if self.context == "none" and self.targets == "encoder":
            raise ValueError('context "none" would predict the encoder\'s output from itself: give targets "prelayer"')
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


class VQVAEConfig(QuantizerConfig):
    """Vector-quantised autoencoder (van den Oord et al. 2017, arXiv 1711.00937) on log-mel."""

    kind: Literal["vqvae"] = "vqvae"
    decoder_channels: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Channels inside the decoder; those of the encoder if not given."""


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


class APCConfig(Settings):
    """Autoregressive predictive coding (Chung et al. 2019, arXiv 1904.03240) of the log-mel."""

    kind: Literal["apc"] = "apc"
    steps_ahead: Annotated[int, Field(ge=1, le=200)] = 3
    """Encoder frames between the context and the frame it predicts; the next frame is 1."""
    context: Literal["lstm", "gru", "conv", "none"] = "lstm"
    """Context network over the encoder's output; `conv` is a stack of causal dilated residual blocks. With `none` the
    encoder's output itself is the context."""
    context_channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels of the context network."""
    context_layers: Annotated[int, Field(ge=1, le=16)] = 1
    """Layers of the recurrent context, or residual blocks of the convolutional one (dilations 1, 3, 9, ...)."""


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
