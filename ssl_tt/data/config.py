"""Settings of what is read and how it is cut into windows, and how audio is augmented; free of torch."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from ssl_tt.data.cache import FOLDER, GIGABYTES
from ssl_tt.recipe import Settings


class DataConfig(Settings):
    """Which conversations, how they are split, and how windows are cut from them."""

    pretrain: Annotated[tuple[str, ...], Field(min_length=1)]
    """Corpora for unlabeled pretraining: the path or URL (s3://, gs://, hf://) of a manifest, or the name of a corpus
    under `simulate`. A manifest at a URL has its audio beside it."""
    probe: tuple[str, ...] = ()
    """Corpora for probing, with speech segments; the same ones as for pretraining if empty."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] = 4.0
    """Length of a training window, seconds."""
    windows_per_conversation: Annotated[int, Field(ge=1, le=1024)] = 1
    """Windows of one conversation that stand together in a batch, for negatives of the same conversation; those that a
    process reads at once, `batch_windows` over accumulation and processes, must be a multiple of it."""
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Share of the conversations for validation, where the manifest names no split."""
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of the conversations for test, where the manifest names no split."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of that split; conversations that share a speaker stay together."""
    labelled_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the seconds of the annotated training conversations that probes and heads learn from, drawn by dialogue
    with `split_seed`; smaller shares lie in larger ones. Pretraining and what is scored are the same with any."""
    max_unreadable_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Training goes on past unreadable items up to this share of the epoch, then stops."""
    cache_folder: str = FOLDER
    """Folder for indices of manifests and for what is fetched from URLs, which several runs may share; a local disk."""
    cache_gigabytes: Annotated[float, Field(gt=0, le=1e6)] = GIGABYTES
    """What is fetched of audio is kept up to this many gigabytes; then what was used longest ago goes."""

    @property
    def probed(self) -> tuple[str, ...]:
        """Corpora that probes are fitted and scored on."""
        return self.probe or self.pretrain


Probability = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(ge=-60, le=60)]
Decay = Annotated[float, Field(ge=0.01, le=2)]
Stretch = Annotated[float, Field(gt=0, le=60)]


class AugmentationConfig(Settings):
    """What may be done to audio, in this order, to each channel of a window by itself; at first nothing is.

    Nothing looks ahead and nothing delays, so frames stay where they are (after Kharitonov et al. 2020, arXiv
    2007.00991, without its changes of pitch and speed).
    """

    reverberation_probability: Probability = 0.0
    """Share of channels that are put into a room: exponentially decaying noise after the direct sound."""
    reverberation_seconds: tuple[Decay, Decay] = (0.1, 0.4)
    """Shortest and longest time in which the room's sound decays by 60 dB, seconds; its cost grows with the longest."""
    direct_to_reverberant_db: tuple[Level, Level] = (0.0, 15.0)
    """Lowest and highest ratio of the direct sound's energy to that of the room, dB."""
    noise_probability: Probability = 0.0
    """Share of channels that get white noise."""
    noise_snr_db: tuple[Level, Level] = (5.0, 30.0)
    """Lowest and highest ratio of the audio's power up to now, in the window, to that of the noise, dB."""
    gain_probability: Probability = 0.0
    """Share of channels that become louder or softer."""
    gain_db: tuple[Level, Level] = (-10.0, 10.0)
    """Lowest and highest gain, dB."""
    band_probability: Probability = 0.0
    """Share of channels that pass through the band of a telephone, 300 to 3,400 Hz."""
    mu_law_probability: Probability = 0.0
    """Share of channels that are coded in 8 bits by the mu-law of a telephone, and decoded."""
    dropout_probability: Probability = 0.0
    """Share of channels of which a stretch is lost (zeros), one in each window."""
    dropout_seconds: tuple[Stretch, Stretch] = (0.05, 0.2)
    """Shortest and longest stretch that is lost, seconds."""

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name in ("reverberation_seconds", "direct_to_reverberant_db", "noise_snr_db", "gain_db", "dropout_seconds"):
            lowest, highest = getattr(self, name)
            if lowest > highest:
                raise ValueError(f"{name} {[lowest, highest]}: give the lower value first")
        return self

    @property
    def active(self) -> bool:
        """Whether anything may be done."""
        return any(getattr(self, name) > 0 for name in type(self).model_fields if name.endswith("_probability"))
