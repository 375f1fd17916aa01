"""Dialogues of real voices: a folder of speech, cut at its own pauses and spread over two channels.

A turn is a run of one reader's utterances with the natural pauses between them. Readers pause longest where a sentence
ends: a pause of 0.6 s or more closes the turn and a gap follows, while shorter ones stay inside. So shift and hold here
are a proxy, read off the length of natural pauses. A file's end is not the end of a sentence, nor is a place where a
turn is cut short to fit the timing: there the other starts in overlap, and no silence rests on it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_tt import timebase
from ssl_tt.data import audio
from ssl_tt.data.activity_detection import detect_energy
from ssl_tt.data.conversation import Split
from ssl_tt.data.simulate import sources, timing
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.data.simulate.render import Clip, Scene
from ssl_tt.data.simulate.timing import Timing
from ssl_tt.errors import InputError

LONG_PAUSE_SECONDS = 0.6
"""From here on a pause tends to close a sentence."""

_SUFFIXES = frozenset({".flac", ".wav", ".ogg", ".opus", ".mp3", ".sph"})
_LEVEL = 10 ** (-27 / 20)
_LEAD_IN_SECONDS = 0.5
_TAIL_SECONDS = 1.0
_LONGEST_OVERLAP_SECONDS = 1.0
# Shorter conversations, where one of the two has run out of speech, are dropped.
_SHORTEST_CONVERSATION_SECONDS = 10.0
_CASTING, _SPLITTING = 0, 1


class Utterance(NamedTuple):
    """Speech between two pauses of a file, in samples of the simulation's rate."""

    path: Path
    start_sample: int
    end_sample: int
    gain: float

    @property
    def n_samples(self) -> int:
        return self.end_sample - self.start_sample


class Stretch(NamedTuple):
    """Utterances of one file with nothing but short pauses between them."""

    utterances: tuple[Utterance, ...]
    closed: bool
    """A long pause follows; otherwise the file ends."""

    @property
    def n_samples(self) -> int:
        return self.utterances[-1].end_sample - self.utterances[0].start_sample


class Placed(NamedTuple):
    """An utterance and where it goes."""

    channel: int
    start_sample: int
    utterance: Utterance


def scenes(config: SimulateConfig, pool: ProcessPoolExecutor) -> list[Callable[[], Scene]]:
    """One call a conversation; the files are cut by the processes of the pool."""
    assert config.speech is not None
    root = sources.folder(config.speech, "speech")
    lengths = timing.read(config.timing)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise InputError(f"{root}: no speech in it, expected <speaker>/*.flac or another format of audio")
    speech: dict[str, list[Stretch]] = {}
    for path, stretches in zip(paths, pool.map(partial(cut, config.sample_rate_hz), paths, chunksize=8), strict=True):
        speech.setdefault(path.parent.name, []).extend(stretches)
    speech = {speaker: stretches for speaker, stretches in speech.items() if stretches}

    found: list[Callable[[], Scene]] = []
    for number, (split, speakers) in enumerate(_split_speakers(speech, config).items()):
        share = {"validation": config.validation_share, "test": config.test_share}
        seconds = config.hours * 3600 * share.get(split, 1 - config.validation_share - config.test_share)
        rng = np.random.default_rng((config.seed, _CASTING, number))
        for pair, placed in dialogues(split, {s: speech[s] for s in speakers}, seconds, lengths, config, rng):
            name = f"folder-{len(found):05d}"
            found.append(partial(_scene, config.sample_rate_hz, name, split, pair, placed))
    return found


def cut(sample_rate_hz: int, path: Path) -> list[Stretch]:
    """The stretches of speech of a file of one channel."""
    samples = audio.read(path, sample_rate_hz=sample_rate_hz)
    if len(samples) != 1:
        raise InputError(f"{path}: {len(samples)} channels, expected 1 with one voice")
    bounds = [
        (timebase.samples(start, sample_rate_hz), timebase.samples(end, sample_rate_hz))
        for start, end in detect_energy(samples[0], sample_rate_hz)
    ]
    if not bounds:
        return []
    speech = np.concatenate([samples[0, start:end] for start, end in bounds])
    gain = _LEVEL / float(np.sqrt(np.mean(np.square(speech))))
    stretches: list[Stretch] = []
    current: list[Utterance] = []
    for start, end in bounds:
        if current and start - current[-1].end_sample >= LONG_PAUSE_SECONDS * sample_rate_hz:
            stretches.append(Stretch(tuple(current), closed=True))
            current = []
        current.append(Utterance(path, start, end, gain))
    return [*stretches, Stretch(tuple(current), closed=False)]


def _split_speakers(speech: dict[str, list[Stretch]], config: SimulateConfig) -> dict[Split, list[str]]:
    """Speakers of each split: those with the most speech first, each to the split that lacks most."""
    shares: dict[Split, float] = {
        "train": 1 - config.validation_share - config.test_share,
        "validation": config.validation_share,
        "test": config.test_share,
    }
    shares = {split: share for split, share in shares.items() if share > 0}
    if len(speech) < 2 * len(shares):
        raise InputError(
            f"{config.speech}: {len(speech)} speakers, expected 2 or more for each of {', '.join(shares)}: a folder "
            "a speaker, or set a share to 0"
        )
    amounts = {speaker: sum(stretch.n_samples for stretch in stretches) for speaker, stretches in speech.items()}
    order = np.random.default_rng((config.seed, _SPLITTING)).permutation(sorted(speech)).tolist()
    order.sort(key=lambda speaker: -amounts[speaker])
    splits: dict[Split, list[str]] = {split: [] for split in shares}
    for speaker in order:
        # Two each come first, since nobody talks alone.
        lonely = [split for split in splits if len(splits[split]) < 2]
        left = len(order) - sum(map(len, splits.values()))
        needed = sum(2 - len(splits[split]) for split in lonely)
        choices = lonely if left <= needed else list(splits)
        lack = {s: shares[s] - sum(amounts[p] for p in splits[s]) / sum(amounts.values()) for s in choices}
        splits[max(choices, key=lambda split: lack[split])].append(speaker)
    return splits


def dialogues(
    split: Split,
    speech: dict[str, list[Stretch]],
    seconds: float,
    lengths: Timing,
    config: SimulateConfig,
    rng: np.random.Generator,
) -> Iterator[tuple[tuple[str, str], list[Placed]]]:
    """Pairs of speakers with what they say, for about so long; only for training is speech used more than once."""
    made_seconds = 0.0
    while made_seconds < seconds:
        before = made_seconds
        left = {
            speaker: deque(stretches[i] for i in rng.permutation(len(stretches)))
            for speaker, stretches in speech.items()
        }
        while made_seconds < seconds and len(left) > 1:
            speakers = list(left)
            amounts = np.array([sum(stretch.n_samples for stretch in left[s]) for s in speakers], dtype=np.float64)
            pair = rng.choice(len(speakers), size=2, replace=False, p=amounts / amounts.sum())
            names = speakers[pair[0]], speakers[pair[1]]
            placed = _dialogue((left[names[0]], left[names[1]]), lengths, config, rng)
            length = max((p.start_sample + p.utterance.n_samples for p in placed), default=0)
            if length >= _SHORTEST_CONVERSATION_SECONDS * config.sample_rate_hz:
                made_seconds += length / config.sample_rate_hz
                yield names, placed
            left = {speaker: stretches for speaker, stretches in left.items() if stretches}
        if split != "train":
            return
        if made_seconds == before:
            raise InputError(
                f"{config.speech}: too little speech of its {len(speech)} training speakers for a conversation of "
                f"{_SHORTEST_CONVERSATION_SECONDS:.0f} s: add recordings"
            )


def _dialogue(
    speech: tuple[deque[Stretch], deque[Stretch]], lengths: Timing, config: SimulateConfig, rng: np.random.Generator
) -> list[Placed]:
    """Alternate turns of two speakers, taken off their speech, until one has none left or the time is over."""
    rate = config.sample_rate_hz
    end = timebase.samples(config.conversation_seconds - _TAIL_SECONDS, rate)
    placed: list[Placed] = []
    channel = int(rng.integers(2))
    start = timebase.samples(_LEAD_IN_SECONDS, rate)
    was_closed = True
    while speech[channel]:
        turn, closed = _take_turn(speech[channel], lengths.turns.draw(rng) * rate)
        gap_seconds, overlap_seconds = lengths.gaps.draw(rng), lengths.overlaps.draw(rng)
        if placed:
            previous = placed[-1].utterance
            if not was_closed:
                shortest = min(previous.n_samples, turn[0].n_samples)
                overlap = timebase.samples(min(overlap_seconds, _LONGEST_OVERLAP_SECONDS), rate)
                start -= min(overlap, int(0.4 * shortest))
            else:
                start += timebase.samples(gap_seconds, rate)
        offset = start - turn[0].start_sample
        fitting = [utterance for utterance in turn if utterance.end_sample + offset <= end]
        placed += [Placed(channel, utterance.start_sample + offset, utterance) for utterance in fitting]
        if len(fitting) < len(turn):
            break
        start, was_closed = turn[-1].end_sample + offset, closed
        channel = 1 - channel
    return placed


def _take_turn(speech: deque[Stretch], n_samples: float) -> tuple[tuple[Utterance, ...], bool]:
    """Take a turn of about this length off the front: its utterances, and whether a long pause closes it."""
    utterances, closed = speech.popleft()
    begin = utterances[0].start_sample
    count = next((k for k, u in enumerate(utterances, 1) if u.end_sample - begin >= n_samples), len(utterances))
    if count < len(utterances):
        speech.appendleft(Stretch(utterances[count:], closed))
        return utterances[:count], False
    return utterances, closed


def _scene(sample_rate_hz: int, name: str, split: Split, speakers: tuple[str, str], placed: Sequence[Placed]) -> Scene:
    files = {path: audio.read(path, sample_rate_hz=sample_rate_hz)[0] for path in {p.utterance.path for p in placed}}
    clips = []
    for channel, start, utterance in placed:
        samples = files[utterance.path][utterance.start_sample : utterance.end_sample]
        clips.append(Clip(channel, start, utterance.gain * samples))
    last = max(clip.end_sample for clip in clips)
    return Scene(
        id=name,
        split=split,
        speakers=speakers,
        clips=clips,
        n_samples=last + timebase.samples(_TAIL_SECONDS, sample_rate_hz),
        provenance={"files": sorted({p.utterance.path.name for p in placed})},
    )
