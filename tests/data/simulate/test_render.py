"""Between clips there is the room and nothing else."""

import numpy as np
import pytest

from ssl_tt.data.conversation import Segment
from ssl_tt.data.simulate.render import Clip, faded, render, segments

RATE_HZ = 8000
N_SAMPLES = 4 * RATE_HZ
BOUNDS = ((0, 4000, 12000), (0, 20000, 24000), (1, 13000, 19000))


def clips(seed: int) -> list[Clip]:
    """Clips of noise with the same energy whatever the seed."""
    made = []
    for channel, start, end in BOUNDS:
        samples = np.random.default_rng((seed, start)).standard_normal(end - start).astype(np.float32)
        samples *= 0.1 * np.sqrt((end - start) / np.square(faded(samples, RATE_HZ)).sum())
        made.append(Clip(channel, start, samples))
    return made


def rendered(seed: int, cross_talk_db: float | None = None, level: float = 1.0) -> np.ndarray:
    louder = [clip._replace(samples=level * clip.samples) for clip in clips(seed)]
    return render(louder, N_SAMPLES, RATE_HZ, (20.0, 30.0), cross_talk_db, np.random.default_rng(0))


@pytest.mark.parametrize("cross_talk_db", [None, -20.0])
def test_outside_clips_nothing_depends_on_what_is_said(cross_talk_db: float | None) -> None:
    one, other = rendered(1, cross_talk_db), rendered(2, cross_talk_db)
    spoken = np.zeros((2, N_SAMPLES), dtype=bool)
    for channel, start, end in BOUNDS:
        spoken[channel if cross_talk_db is None else slice(None), start:end] = True
    assert np.abs(one - other)[~spoken].max() < 1e-6
    assert np.abs(one - other)[spoken].max() > 0.01


def test_room_noise_runs_through_the_whole_file_without_digital_silence() -> None:
    quiet = np.rint(rendered(1) * 32768)
    for channel in range(2):
        blocks = quiet[channel].reshape(-1, 200)
        assert (blocks.std(axis=1) > 1).all()
    assert quiet[:, :3500].std(axis=1) == pytest.approx(quiet[:, -3500:].std(axis=1), rel=0.3)


def test_noise_keeps_the_ratio_asked_for() -> None:
    samples = rendered(1)
    for channel in range(2):
        speech = np.mean([np.square(samples[c, s:e]).mean() for c, s, e in BOUNDS if c == channel])
        ratio_db = 10 * np.log10(speech / np.square(samples[channel, :3500]).mean())
        assert 18.5 < ratio_db < 31.5


def test_every_clip_is_faded_in_and_out_inside_its_bounds() -> None:
    samples = np.ones(1000, dtype=np.float32)
    result = faded(samples, RATE_HZ)
    assert result[0] < 0.001
    assert result[-1] < 0.001
    assert result[40] == pytest.approx(0.5, abs=0.03)
    assert (result[80:-80] == 1).all()
    assert result == pytest.approx(result[::-1])
    assert (samples == 1).all()


def test_cross_talk_is_heard_at_its_level() -> None:
    difference = rendered(1, -20.0) - rendered(1)
    leak = difference[1, 4000:12000]
    assert 20 * np.log10(np.std(leak) / 0.1) == pytest.approx(-20, abs=1)


def test_loud_speech_is_turned_down_instead_of_clipped() -> None:
    samples = rendered(1, level=50.0)
    assert np.abs(samples).max() == pytest.approx(0.95, abs=1e-4)


def test_segments_are_the_bounds_of_the_clips() -> None:
    assert segments(clips(0)[::-1], RATE_HZ) == (
        (Segment(0.5, 1.5), Segment(2.5, 3.0)),
        (Segment(1.625, 2.375),),
    )
