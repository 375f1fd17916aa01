"""Settings of what is read and how it is cut into windows; free of torch."""

from typing import Annotated

from pydantic import Field

from ssl_tt.recipe import Settings


class DataConfig(Settings):
    """Which conversations, how they are split, and how windows are cut from them."""

    pretrain: Annotated[tuple[str, ...], Field(min_length=1)]
    """Corpora for unlabeled pretraining: a path of a manifest, or the name of a corpus under `simulate`."""
    probe: tuple[str, ...] = ()
    """Corpora for probing, with speech segments; the same ones as for pretraining if empty."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] = 4.0
    """Length of a training window, seconds."""
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Share of the conversations for validation, where the manifest names no split."""
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of the conversations for test, where the manifest names no split."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of that split; conversations that share a speaker stay together."""
    max_unreadable_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Training goes on past unreadable items up to this share of the epoch, then stops."""

    @property
    def probed(self) -> tuple[str, ...]:
        """Corpora that probes are fitted and scored on."""
        return self.probe or self.pretrain
