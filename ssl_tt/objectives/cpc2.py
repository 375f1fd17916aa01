"""CPC v2: CPC made harder, for a larger encoder."""

from ssl_tt.objectives.cpc import CPC


class CPC2(CPC):
    """Data-efficient CPC (Hénaff et al. 2019, arXiv 1905.09272, section 3) carried over from images to audio.

    What the paper adds to CPC, and what became of it here:

    - a larger encoder: the recipe's (recipes/cpc2.toml), as any encoder can be given;
    - layer instead of batch normalisation: no encoder has a norm that mixes frames, so there was nothing to change;
    - patches augmented each by itself: past and future are, in ways that keep them aligned, by default;
    - prediction in several directions: there is one, the future. Backward prediction would need a context that has
      heard what comes after, so several `horizons`, each with predictors of its own, take the place of directions;
    - overlapping patches, rectangular context networks: a frame's field and `context` are what corresponds.

    So it is CPC with other settings, and there is nothing to add.
    """
