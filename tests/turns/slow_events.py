"""The definitions of every preset word for word, frame by frame: the slow, obvious twin of `find_events`.

Nothing is taken from the package but what an event is; every number stands here again.
"""

from collections.abc import Iterable

import numpy as np

from ssl_tt.turns.events import Event

KINDS = {
    "vap2022": {
        "shift",
        "hold",
        "shift_overlap",
        "predict_shift",
        "predict_shift_negative",
        "backchannel",
        "predict_backchannel",
        "predict_backchannel_negative",
        "short",
        "long",
        "non_shift",
    },
    "vap_event": {"shift", "hold"},
    "inoue2024": {"shift", "hold"},
    "skantze2017": {"shift", "hold", "short", "long"},
    "roddy2018": {"shift", "hold", "short", "long", "overlap"},
}
KINDS["vap2023"] = KINDS["vap2022"]


class Dialogue:
    """Activity with questions about it; a window that leaves the dialogue fails every question."""

    def __init__(self, activity: np.ndarray) -> None:
        self.rows = [list(map(bool, row)) for row in activity]
        self.n = len(self.rows)

    def active(self, t: int, who: int) -> bool:
        return 0 <= t < self.n and self.rows[t][who]

    def alone(self, t: int) -> int | None:
        """Who is the only one to speak at t."""
        a, b = self.active(t, 0), self.active(t, 1)
        return None if a == b else int(b)

    def nobody(self, t: int) -> bool:
        return not self.active(t, 0) and not self.active(t, 1)

    def inside(self, first: int, end: int) -> bool:
        return first >= 0 and end <= self.n

    def only(self, first: int, end: int, who: int) -> bool:
        return self.inside(first, end) and all(self.alone(t) == who for t in range(first, end))

    def silent(self, first: int, end: int, who: int) -> bool:
        return self.inside(first, end) and not any(self.active(t, who) for t in range(first, end))

    def count(self, first: int, end: int, who: int) -> int:
        return sum(self.active(t, who) for t in range(first, end))

    def stretches(self, holds: Iterable[bool]) -> list[tuple[int, int]]:
        """Maximal [first, end) of frames for which it holds."""
        found, first = [], None
        for t, is_so in enumerate([*holds, False]):
            if is_so and first is None:
                first = t
            if not is_so and first is not None:
                found.append((first, t))
                first = None
        return found

    def silences(self) -> list[tuple[int, int]]:
        return self.stretches(self.nobody(t) for t in range(self.n))

    def utterances(self, who: int) -> list[tuple[int, int]]:
        return self.stretches(self.active(t, who) for t in range(self.n))

    def overlaps(self) -> list[tuple[int, int]]:
        return self.stretches(self.active(t, 0) and self.active(t, 1) for t in range(self.n))

    def filled(self) -> "Dialogue":
        """Pauses between two pieces of one speaker alone are that speaker's."""
        rows = [list(row) for row in self.rows]
        for first, end in self.silences():
            who = self.alone(first - 1)
            if who is not None and self.alone(end) == who:
                for t in range(first, end):
                    rows[t][who] = True
        return Dialogue(np.array(rows).reshape(-1, 2))

    def last_active(self, t: int) -> int | None:
        """Who alone was active at t, or when somebody last was; None if that was both, or nobody yet."""
        while t >= 0 and self.nobody(t):
            t -= 1
        return self.alone(t)


def slow_events(activity: np.ndarray, rate_hz: float, preset: str) -> list[Event]:
    talk = Dialogue(activity)
    if preset in ("skantze2017", "roddy2018"):
        events = slow_pauses(talk, (1, 5, 10) if preset == "skantze2017" else (1, 10))
        events += slow_onsets_of_skantze(talk) if preset == "skantze2017" else slow_onsets_of_roddy(talk)
        events += slow_overlaps_of_roddy(talk) if preset == "roddy2018" else []
    elif preset == "inoue2024":
        events = slow_inoue(talk, rate_hz)
    elif preset == "vap_event":
        events = slow_silences(talk, rate_hz, int(0.1 * rate_hz), post=2.0, pad=0.2, scored=0.2, context=20.0)
    else:
        events = slow_vap(talk, rate_hz, preset)
    return sorted(events)


# ------------------------------------------------------------------------------------------------------ VAP presets


def slow_silences(
    talk: Dialogue, rate_hz: float, shortest: int, post: float, pad: float, scored: float, context: float
) -> list[Event]:
    filled = talk.filled()
    pre, after = int(1.0 * rate_hz), int(post * rate_hz)
    events = []
    for s, e in talk.silences():
        previous, following = talk.alone(s - 1), talk.alone(e)
        first = s + int(pad * rate_hz)
        if (
            previous is not None
            and following is not None
            and e - s >= shortest
            and filled.only(s - pre, s, previous)
            and filled.only(e, e + after, following)
            and first >= int(context * rate_hz)
        ):
            kind = "hold" if previous == following else "shift"
            events.append(Event(s, e, kind, following, (first, first + int(scored * rate_hz))))
    return events


def slow_inoue(talk: Dialogue, rate_hz: float) -> list[Event]:
    filled = talk.filled()
    above = int(1.0 * rate_hz) + 1
    decision = int(0.05 * rate_hz)
    events = []
    for s, e in talk.silences():
        previous, following = talk.alone(s - 1), talk.alone(e)
        if (
            previous is not None
            and following is not None
            and e - s > int(0.25 * rate_hz)
            and filled.only(s - above, s, previous)
            and filled.only(e, e + above, following)
            and s + decision >= int(3.0 * rate_hz)
        ):
            kind = "hold" if previous == following else "shift"
            events.append(Event(s, e, kind, following, (s + decision - 1, s + decision)))
    return events


def slow_vap(talk: Dialogue, rate_hz: float, preset: str) -> list[Event]:
    old = preset == "vap2022"
    context, ahead = int(3.0 * rate_hz), int(0.5 * rate_hz)
    scored = 0.1 if old else 0.2
    shortest = int(0.05 * rate_hz) + int(0.1 * rate_hz) if old else int(0.25 * rate_hz)
    turns = slow_silences(talk, rate_hz, shortest, post=1.0, pad=0.05, scored=scored, context=3.0)
    shifts = [event for event in turns if event.kind == "shift"]
    holds = [event for event in turns if event.kind == "hold"]
    events = []

    filled = talk.filled()
    for s, e in talk.overlaps():
        previous, following = talk.alone(s - 1), talk.alone(e)
        first, second = s + int(0.05 * rate_hz), int(1.0 * rate_hz)
        if (
            previous is not None
            and following == 1 - previous
            and filled.only(s - second, s, previous)
            and filled.only(e, e + second, following)
            and first >= context
        ):
            events.append(Event(s, e, "shift_overlap", following, (first, first + int(scored * rate_hz))))

    before_shift = [whole("predict_shift", e.start - ahead, e.start, e.speaker) for e in shifts]
    events += before_shift
    events += [whole("long", e.end, e.end + int(0.2 * rate_hz), e.speaker) for e in shifts]

    backchannels = []
    for who in (0, 1):
        for first, end in talk.utterances(who):
            if (
                int(0.2 * rate_hz) <= end - first <= int(1.0 * rate_hz)
                and talk.silent(first - int(1.0 * rate_hz), first, who)
                and talk.silent(end, end + int((2.0 if old else 1.0) * rate_hz), who)
                and talk.last_active(first - 1) == 1 - who
                and first >= context
            ):
                backchannels.append(Event(first, end, "backchannel", who, (first, first + int(0.2 * rate_hz))))
    events += backchannels
    events += [whole("short", *event.region, event.speaker) for event in backchannels]
    before_backchannel = [
        whole("predict_backchannel", e.start - ahead, e.start, e.speaker)
        for e in backchannels
        if e.start - ahead >= context
    ]
    events += before_backchannel

    horizon = int(2.0 * rate_hz)

    def is_non_shift(t: int, who: int) -> bool:
        return (
            t >= context
            and t + horizon < talk.n
            and talk.last_active(t) == who
            and talk.count(t + 1, t + 1 + horizon, who) > 0
            and talk.count(t + 1, t + 1 + horizon, 1 - who) == 0
        )

    on_activity, anywhere = [], []
    for who in (0, 1):
        non_shift = [is_non_shift(t, who) for t in range(talk.n)]
        stretches = talk.stretches(non_shift)
        events += [whole("non_shift", first, end, who) for first, end in stretches]
        anywhere += [(first, 1 - who) for first in slow_windows(stretches, ahead)]
        spoken = talk.stretches(is_so and talk.alone(t) is not None for t, is_so in enumerate(non_shift))
        on_activity += [(first, who) for first in slow_windows(spoken, ahead)]
    if not old:
        anywhere = []
        for who in (0, 1):
            for first, end in talk.stretches(filled.alone(t) == who for t in range(talk.n)):
                at = max(first + int(1.0 * rate_hz), context)
                while at + ahead <= end - int(2.0 * rate_hz):
                    anywhere.append((at, 1 - who))
                    at += ahead
    for kind, candidates, positives in (
        ("predict_shift_negative", on_activity, before_shift),
        ("predict_backchannel_negative", anywhere, before_backchannel),
    ):
        drawn = slow_draw(sorted(candidates), len(positives))
        events += [whole(kind, first, first + ahead, who) for first, who in drawn]
    if old:
        return events + turns
    return events + slow_draw(shifts, len(holds)) + slow_draw(holds, len(shifts))


def whole(kind: str, first: int, end: int, who: int) -> Event:
    return Event(first, end, kind, who, (first, end))


def slow_windows(stretches: list[tuple[int, int]], length: int) -> list[int]:
    """Windows side by side: after 3 frames where there is room, and the last frame of the stretch is never used."""
    found = []
    for first, end in stretches:
        at = first + (3 if end - first - length > 3 else 0)
        while at < end - length:
            found.append(at)
            at += length
    return found


def slow_draw(candidates: list, n: int) -> list:
    priorities = np.random.default_rng(0).random(len(candidates)).tolist()
    best = sorted(range(len(candidates)), key=lambda i: priorities[i])[:n]
    return [candidates[i] for i in sorted(best)]


# ---------------------------------------------------------------------------------------------------- 20 Hz presets


def slow_pauses(talk: Dialogue, lengths: tuple[int, ...]) -> list[Event]:
    events = []
    for s, e in talk.silences():
        previous = talk.alone(s - 1)
        for length in lengths:
            ask = s + length
            heard = [who for who in (0, 1) if talk.count(ask, ask + 20, who)]
            if previous is not None and e - s >= length and len(heard) == 1:
                kind = "hold" if heard[0] == previous else "shift"
                events.append(Event(s, e, kind, heard[0], (ask - 1, ask)))
    return events


def slow_onsets(talk: Dialogue) -> list[tuple[int, int, int]]:
    """Speaker, first frame and end of what is said after 30 frames of silence and lasts 10 frames."""
    return [
        (who, first, end)
        for who in (0, 1)
        for first, end in talk.utterances(who)
        if end - first >= 10 and talk.silent(first - 30, first, who)
    ]


def slow_onsets_of_skantze(talk: Dialogue) -> list[Event]:
    events = []
    for who, first, end in slow_onsets(talk):
        more = end - first - 10
        region = (first + 9, first + 10)
        if more > 50:
            events.append(Event(first, first + 10, "long", who, region))
        elif more < 10 and talk.silent(end, end + 100, who):
            events.append(Event(first, first + 10, "short", who, region))
    return events


def slow_onsets_of_roddy(talk: Dialogue) -> list[Event]:
    events = []
    for who, first, _ in slow_onsets(talk):
        if first + 110 >= talk.n:
            continue
        region = (first + 9, first + 10)
        if talk.active(first + 60, who) and talk.count(first, first + 60, who) > 50:
            events.append(Event(first, first + 10, "long", who, region))
            continue
        # The ten frames from the last of the first ten on; where speech ends in them, fifty more must be silent.
        for t in range(first + 9, first + 18):
            if not talk.active(t + 1, who):
                if talk.silent(t + 2, t + 52, who):
                    events.append(Event(first, first + 10, "short", who, region))
                break
    return events


def slow_overlaps_of_roddy(talk: Dialogue) -> list[Event]:
    events = []
    for t in range(28, talk.n - 30):
        for holder in (0, 1):
            other = 1 - holder
            if (
                talk.count(t - 28, t, holder) >= 23
                and talk.silent(t - 28, t, other)
                and all(talk.active(u, who) for u in (t, t + 1) for who in (0, 1))
            ):
                more = talk.count(t + 20, t + 30, holder) - talk.count(t + 20, t + 30, other)
                end = next(end for first, end in talk.overlaps() if first == t)
                if more != 0:
                    events.append(Event(t, end, "overlap", holder if more > 0 else other, (t + 1, t + 2), holder))
    return events
