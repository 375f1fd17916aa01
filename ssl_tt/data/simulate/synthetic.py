"""Dialogues of synthetic voices, with cues of known strength."""

from collections.abc import Callable
from functools import partial

import numpy as np

from ssl_tt import timebase
from ssl_tt.data.conversation import Split
from ssl_tt.data.simulate import cues, timing
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.data.simulate.plan import plan_dialogue
from ssl_tt.data.simulate.render import Clip, Scene
from ssl_tt.data.simulate.timing import Timing
from ssl_tt.data.simulate.voices import draw_voice, synthesise
from ssl_tt.errors import InputError

# First key of each family of draws, after the seed.
_VOICE, _CASTING, _DIALOGUE = 0, 1, 2


def scenes(config: SimulateConfig) -> list[Callable[[], Scene]]:
    """One call a conversation, each independent of the others."""
    conversations = _shared_out(config, max(1, round(config.hours * 3600 / config.conversation_seconds)), at_least=1)
    speakers = _shared_out(config, config.speakers, at_least=2)
    rng = np.random.default_rng((config.seed, _CASTING))
    lengths = timing.read(config.timing)
    found: list[Callable[[], Scene]] = []
    first_speaker = 0
    for split, count in conversations.items():
        for _ in range(count):
            pair = first_speaker + rng.choice(speakers[split], size=2, replace=False)
            found.append(partial(_scene, config, lengths, len(found), split, (int(pair[0]), int(pair[1]))))
        first_speaker += speakers[split]
    return found


def _shared_out(config: SimulateConfig, total: int, at_least: int) -> dict[Split, int]:
    """How many of them each split gets."""
    shares: dict[Split, float] = {"validation": config.validation_share, "test": config.test_share}
    counts = {split: max(at_least, round(total * share)) for split, share in shares.items() if share > 0}
    if (left := total - sum(counts.values())) < at_least:
        what = "speakers" if at_least > 1 else "conversations"
        raise InputError(
            f"simulate: {total} {what} are too few for {1 + len(counts)} splits of at least {at_least}: raise "
            f"{'speakers' if at_least > 1 else 'hours'} or set a share to 0"
        )
    return {"train": left, **counts}


def _scene(config: SimulateConfig, lengths: Timing, number: int, split: Split, pair: tuple[int, int]) -> Scene:
    rng = np.random.default_rng((config.seed, _DIALOGUE, number))
    rate = config.sample_rate_hz
    name = f"synthetic-{number:05d}"
    voices = [draw_voice(np.random.default_rng((config.seed, _VOICE, speaker))) for speaker in pair]
    utterances, silences = plan_dialogue(
        lengths, config.conversation_seconds, config.shift_probability, config.cue_strength, rng
    )
    clips = []
    for utterance in utterances:
        start = timebase.samples(utterance.start_seconds, rate)
        n_samples = timebase.samples(utterance.start_seconds + utterance.seconds, rate) - start
        samples = synthesise(voices[utterance.channel], utterance.cues, n_samples, rate, rng)
        clips.append(Clip(utterance.channel, start, samples))
    truth = [
        {
            "conversation": name,
            "start_seconds": timebase.samples(silence.start_seconds, rate) / rate,
            "end_seconds": timebase.samples(silence.end_seconds, rate) / rate,
            "label": silence.label,
            "cues": silence.cues._asdict(),
            "posterior": cues.posterior(silence.cues, config.cue_strength, config.shift_probability),
        }
        for silence in silences
    ]
    return Scene(
        id=name,
        split=split,
        speakers=(f"synthetic-voice-{pair[0]}", f"synthetic-voice-{pair[1]}"),
        clips=clips,
        n_samples=timebase.samples(config.conversation_seconds, rate),
        truth=truth,
    )
