"""Windows inside stretches of frames, and a draw of some of them that depends on nothing but the seed."""

import numpy as np

from ssl_tt.turns.spans import Frames, Spans


def windows(starts: Frames, ends: Frames, length: int) -> tuple[Frames, Frames]:
    """First frames of the windows of `length` that lie side by side in each [start, end), and the stretch of each."""
    fit = np.maximum(ends - starts, 0) // length
    stretch = np.repeat(np.arange(len(starts)), fit)
    place = np.arange(len(stretch)) - np.repeat(np.cumsum(fit) - fit, fit)
    return starts[stretch] + place * length, stretch


def draw(spans: Spans, n: int, seed: int) -> Spans:
    """At most `n` events of a list in order of time, chosen by the seed and their places in it.

    The same for the same list, whatever was drawn before; a larger `n` adds events and drops none.
    """
    priority = np.random.default_rng(seed).random(len(spans.start))
    return spans.take(np.sort(np.argsort(priority)[:n]))
