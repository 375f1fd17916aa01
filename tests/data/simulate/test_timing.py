"""Timing fitted to an annotated corpus is that corpus's timing."""

from pathlib import Path

import numpy as np
import pytest
from simulated import write_textgrid

from ssl_tt.data.conversation import Segment
from ssl_tt.data.simulate import timing
from ssl_tt.errors import InputError

# A #####..#####........#####        a pause of 0.5 s, a gap of 1 s to B, an overlap of 0.25 s back to A,
# B ...............##.####...        and inside A's second utterance a backchannel of B of 0.5 s
DIALOGUE = (
    (Segment(0.0, 2.0), Segment(2.5, 6.0), Segment(9.75, 12.0)),
    (Segment(4.0, 4.5), Segment(7.0, 10.0)),
)


def test_fitted_lengths_are_those_of_the_timeline() -> None:
    fitted = timing.fitted([DIALOGUE] * 10, Path("corpus"))
    assert fitted.gaps.quantiles == pytest.approx(1.0)
    assert fitted.overlaps.quantiles == pytest.approx(0.25)
    assert fitted.backchannels.quantiles == pytest.approx(0.5)
    assert np.median(fitted.utterances.quantiles) == pytest.approx(np.median([2.0, 3.5, 2.25, 3.0]), abs=0.1)
    for lengths, shortest, longest in (
        (fitted.silences, 0.5, 1.0),
        (fitted.utterances, 2.0, 3.5),
        (fitted.turns, 2.25, 6.0),
    ):
        assert lengths.quantiles[[0, -1]] == pytest.approx([shortest, longest])
    assert fitted.overlap_share == pytest.approx(1 / 3)
    assert fitted.backchannels_per_second == pytest.approx(1 / (2 + 3.5 + 2.25 + 3))


def test_draws_follow_the_distribution() -> None:
    lengths = timing.builtin().silences
    rng = np.random.default_rng(0)
    drawn = [lengths.draw(rng) for _ in range(4000)]
    levels = [0.1, 0.5, 0.9]
    assert np.quantile(drawn, levels) == pytest.approx(np.quantile(lengths.quantiles, levels), rel=0.1)


def test_most_builtin_silences_and_utterances_count_as_events() -> None:
    builtin = timing.builtin()
    assert np.mean(builtin.silences.quantiles > 0.25) > 0.9
    assert 0.8 < np.mean(builtin.utterances.quantiles > 1.0) < 1.0


def test_rttm_and_textgrids_of_one_dialogue_give_one_timing(tmp_path: Path) -> None:
    for kind in "rttm", "textgrid":
        (tmp_path / kind).mkdir()
    for number in range(10):
        lines = [
            f"SPEAKER call{number} {channel + 1} {start} {end - start} <NA> <NA> {'ab'[channel]} <NA> <NA>"
            for channel, segments in enumerate(DIALOGUE)
            for start, end in segments
        ]
        (tmp_path / "rttm" / f"call{number}.rttm").write_text("\n".join(lines) + "\n")
        for channel, segments in enumerate(DIALOGUE):
            write_textgrid(
                tmp_path / "textgrid" / f"call{number}_{'ab'[channel]}.TextGrid", [(*s, "yes.") for s in segments], 12.0
            )
    one, other = timing.read(str(tmp_path / "rttm")), timing.read(str(tmp_path / "textgrid"))
    assert one.gaps.quantiles == pytest.approx(other.gaps.quantiles)
    assert one.turns.quantiles == pytest.approx(other.turns.quantiles)
    assert one.overlap_share == other.overlap_share


def test_what_cannot_be_fitted_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_TT_NOT_SET", raising=False)
    for setting, expected in {
        "$SSL_TT_NOT_SET/timing": "not set",
        str(tmp_path / "missing"): "no such folder",
        str(tmp_path): "no TextGrid",
    }.items():
        with pytest.raises(InputError, match=expected) as error:
            timing.read(setting)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="1 pauses"):
        timing.fitted([DIALOGUE], tmp_path)
