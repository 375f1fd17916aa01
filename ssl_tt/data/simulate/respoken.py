"""Real dialogues spoken again: the words and times of a transcribed corpus in voices of espeak-ng.

Each utterance starts at its real time, unless its speaker is still busy with the one before; then it follows that one.
Its sound is cut at its own pauses by the level of the clean signal, and only what lies between them is kept, so a pause
inside an utterance and the end of one are made by the same code. The speech segments are those stretches, and their
phones are those that espeak-ng says it spoke there.

A training dialogue may be there several times in other voices. All of them carry its name in their provenance, since
they share its words and its turns: a probe holds them out together.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache, partial

import numpy as np
from scipy.signal import firwin, resample_poly

from ssl_tt import timebase
from ssl_tt.data.activity_detection import detect_energy
from ssl_tt.data.annotation.textgrid import Interval
from ssl_tt.data.conversation import Conversation, Split
from ssl_tt.data.manifest import split_conversations
from ssl_tt.data.phones import Phone
from ssl_tt.data.simulate import sources
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.data.simulate.espeak import EspeakVoice, Speech, say
from ssl_tt.data.simulate.render import Clip, Scene
from ssl_tt.data.simulate.sources import Dialogue
from ssl_tt.errors import InputError

_LANGUAGES = ("en", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc")
_VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "max", "steph", "michael")

# espeak-ng speaks some 1.14 times as many words a minute as it is asked to (measured on PriMock57).
_WORDS_PER_WORD_ASKED = 1.14
_WORDS_PER_MINUTE = (130, 260)
# At the average rate half of the utterances outlast the real ones and run over the gap after them. A tenth faster,
# there are as many shifts as in the annotation.
_HURRY = 1.1
# What one speaker's utterances keep between each other where the real ones would run into each other.
_SHORTEST_PAUSE_SECONDS = 0.2
_TAIL_SECONDS = 1.0


def scenes(config: SimulateConfig) -> list[Callable[[], Scene]]:
    """One call a dialogue; each needs a process of its own for its bytes to depend on nothing else."""
    assert config.transcripts is not None
    dialogues = sources.read_dialogues(sources.folder(config.transcripts, "transcripts"))
    people = [_people(dialogue, config) for dialogue in dialogues]
    splits = _splits(dialogues, people, config)
    return [
        partial(_scene, config, dialogue, splits[dialogue.name], speakers, rendition)
        for rendition in range(config.renditions)
        for dialogue, speakers in zip(dialogues, people, strict=True)
        if rendition == 0 or splits[dialogue.name] == "train"
    ]


def _people(dialogue: Dialogue, config: SimulateConfig) -> tuple[str, str]:
    """Names of the two speakers: their person's where `people` names one, else the file's."""

    def person(file: str) -> str:
        matching = [name for name, patterns in config.people.items() if _matches(file, patterns)]
        if len(matching) > 1:
            raise InputError(f"simulate people: {file} is both {matching[0]!r} and {matching[1]!r}, expected one")
        return matching[0] if matching else file

    return person(dialogue.files[0]), person(dialogue.files[1])


def _splits(
    dialogues: Sequence[Dialogue], people: Sequence[tuple[str, str]], config: SimulateConfig
) -> dict[str, Split]:
    """Split of each dialogue, such that nobody is in two of them."""

    def named(dialogue: Dialogue) -> Split | None:
        if not config.splits:
            return None
        matching = [split for split, patterns in config.splits.items() if _matches(dialogue.name, patterns)]
        if len(matching) != 1:
            found = " and ".join(matching) or "none"
            raise InputError(f"simulate splits: {dialogue.name} matches {found}, expected one of them")
        return matching[0]

    conversations = [
        Conversation(
            id=dialogue.name,
            audio=None,
            sample_rate_hz=None,
            channels=2,
            duration_seconds=dialogue.seconds,
            speakers=speakers,
            split=named(dialogue),
        )
        for dialogue, speakers in zip(dialogues, people, strict=True)
    ]
    parts = split_conversations(conversations, config.validation_share, config.test_share, config.seed)
    return {conversation.id: split for split, part in parts.items() for conversation in part}


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _scene(
    config: SimulateConfig, dialogue: Dialogue, split: Split, speakers: tuple[str, str], rendition: int
) -> Scene:
    name = dialogue.name
    if rendition > 0:  # another name is another voice
        name = f"{name}-voices{rendition + 1}"
        speakers = (f"{speakers[0]}, voice {rendition + 1}", f"{speakers[1]}, voice {rendition + 1}")
    swapped = bool(_rng(config.seed, name).integers(2))
    order = (1, 0) if swapped else (0, 1)
    clips: list[Clip] = []
    phones: list[list[Phone]] = []
    for channel, role in enumerate(order):
        said, sounds = _speak(dialogue.utterances[role], channel, speakers[role], config)
        clips += said
        phones.append(sounds)
    last = max((clip.end_sample for clip in clips), default=0)
    n_samples = max(
        timebase.samples(dialogue.seconds, config.sample_rate_hz),
        last + timebase.samples(_TAIL_SECONDS, config.sample_rate_hz),
    )
    return Scene(
        id=f"respoken-{name}",
        split=split,
        speakers=(speakers[order[0]], speakers[order[1]]),
        clips=clips,
        n_samples=n_samples,
        provenance={"dialogue": dialogue.name},
        phones=phones,
    )


def _speak(
    utterances: Sequence[Interval], channel: int, speaker: str, config: SimulateConfig
) -> tuple[list[Clip], list[Phone]]:
    """One side of a dialogue, cut at its pauses, and the phones of what is left."""
    said = [(utterance, text) for utterance in utterances if (text := spoken_text(utterance.text))]
    voice = draw_voice(_rng(config.seed, speaker))
    rate = words_per_minute(said)
    clips: list[Clip] = []
    phones: list[Phone] = []
    free_from = 0
    for utterance, text in said:
        speech = say(text, voice, rate)
        samples = _resampled(speech.samples, speech.sample_rate_hz, config.sample_rate_hz)
        stretches = detect_energy(samples, config.sample_rate_hz)
        if not stretches:
            continue  # a text of nothing but a sign that is not spoken
        first = timebase.samples(stretches[0].start_seconds, config.sample_rate_hz)
        start = max(timebase.samples(utterance.start_seconds, config.sample_rate_hz), free_from) - first
        for stretch in stretches:
            begin, end = (timebase.samples(seconds, config.sample_rate_hz) for seconds in stretch)
            clips.append(Clip(channel, start + begin, samples[begin:end]))
            phones += _inside(speech, *stretch, start, config)
        free_from = clips[-1].end_sample + timebase.samples(_SHORTEST_PAUSE_SECONDS, config.sample_rate_hz)
    return clips, phones


def _inside(
    speech: Speech, begin_seconds: float, end_seconds: float, start: int, config: SimulateConfig
) -> Iterator[Phone]:
    """Phones of a stretch of an utterance that starts at a sample of the conversation, cut at the stretch's ends."""
    offset = timebase.seconds(start, config.sample_rate_hz)
    for first, stop, label in speech.phones:
        begin, end = (timebase.seconds(sample, speech.sample_rate_hz) for sample in (first, stop))
        if begin < end_seconds and end > begin_seconds:
            begin, end = max(begin, begin_seconds), min(end, end_seconds)
            yield Phone(round(offset + begin, 6), round(offset + end, 6), label)


def spoken_text(transcript: str) -> str:
    """The words of a transcript: what was hard to hear is kept, what could not be heard is left out."""
    text = " ".join(re.sub(r"<[^>]*>", " ", transcript).split())
    text = re.sub(r"\s+([.,?!;:])", r"\1", text).lstrip(".,?!;: ")
    return text if re.search(r"\w", text) else ""


def words_per_minute(said: Sequence[tuple[Interval, str]]) -> int:
    """The rate to ask of espeak-ng for the utterances to take about as long as they really did."""
    words = sum(len(text.split()) for _, text in said)
    minutes = sum(utterance.end_seconds - utterance.start_seconds for utterance, _ in said) / 60
    return int(np.clip(_HURRY * words / max(minutes, 1e-3) / _WORDS_PER_WORD_ASKED, *_WORDS_PER_MINUTE))


def draw_voice(rng: np.random.Generator) -> EspeakVoice:
    """A voice for a person."""
    language, variant = _LANGUAGES[rng.integers(len(_LANGUAGES))], _VARIANTS[rng.integers(len(_VARIANTS))]
    return EspeakVoice(f"{language}+{variant}", pitch=int(rng.integers(35, 66)), pitch_range=int(rng.integers(40, 71)))


def _rng(seed: int, name: str) -> np.random.Generator:
    """Draws that belong to a name, whatever else is in the corpus."""
    return np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()])


def _resampled(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    divisor = math.gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    return resample_poly(samples, up, down, window=_lowpass(up, down)).astype(np.float32)


@cache
def _lowpass(up: int, down: int) -> np.ndarray:
    """The filter that resample_poly would design anew for every call."""
    half_length = 10 * max(up, down)
    return firwin(2 * half_length + 1, 1 / max(up, down), window=("kaiser", 5.0)).astype(np.float32)
