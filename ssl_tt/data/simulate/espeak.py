"""espeak-ng as a function from text to samples and phones.

The library keeps one voice and one state for the whole process, and a phrase's samples depend on the calls before it:
use a fresh process for each conversation, or the bytes depend on the order of the work.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from ssl_tt.errors import InputError

# Of speak_lib.h.
_SYNCHRONOUS_RETRIEVAL = 2
_PHONEME_EVENTS, _PHONEMES_IN_IPA, _DONT_EXIT_ON_ERROR = 0x1, 0x2, 0x8000
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_END_OF_EVENTS, _PHONEME = 0, 7

_STRESS = str.maketrans("", "", "ˈˌ")


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class EspeakVoice:
    """A voice of espeak-ng."""

    name: str
    """Language and variant, such as "en-us+f2"."""
    pitch: int
    """0 to 99; 50 is the variant's own."""
    pitch_range: int
    """0 to 99; 50 is the variant's own, 0 monotone."""


class Speech(NamedTuple):
    """A text that was spoken."""

    samples: np.ndarray
    """float32 [N] in [-1, 1]"""
    sample_rate_hz: int
    phones: list[tuple[int, int, str]]
    """First sample, end and IPA symbol of each phone, without stress; pauses are none."""


class _Library:
    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise InputError(
                "re-spoken voices need espeak-ng: install the extra, `pip install ssl-tt[respeak]`"
            ) from error
        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self.sample_rate_hz: int = self.lib.espeak_Initialize(
            _SYNCHRONOUS_RETRIEVAL,
            0,
            espeakng_loader.get_data_path().encode(),
            _PHONEME_EVENTS | _PHONEMES_IN_IPA | _DONT_EXIT_ON_ERROR,  # events change no sample
        )
        if self.sample_rate_hz <= 0:
            raise InputError(
                f"espeak-ng does not start with its data in {espeakng_loader.get_data_path()}: reinstall it"
            )
        self.blocks: list[np.ndarray] = []
        self.phonemes: list[tuple[int, str]] = []
        self.callback = _CALLBACK(self._collect)  # kept, or it is freed while the library still calls it
        self.lib.espeak_SetSynthCallback(self.callback)

    def _collect(
        self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]"
    ) -> int:
        if samples and count > 0:
            self.blocks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        place = 0
        while events and (event := events[place]).type != _END_OF_EVENTS:
            if event.type == _PHONEME:  # a name of more than 8 bytes is cut off, perhaps inside a symbol
                self.phonemes.append((event.sample, event.id.string.decode(errors="ignore")))
            place += 1
        return 0


_library = cache(_Library)


def say(text: str, voice: EspeakVoice, words_per_minute: int) -> Speech:
    """Speak a text.

    InputError if espeak-ng is not installed or does not know the voice.
    """
    library = _library()
    if library.lib.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise InputError(f"espeak-ng knows no voice {voice.name!r}; `espeak-ng --voices=variant` lists them")
    for parameter, value in (_RATE, words_per_minute), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range):
        library.lib.espeak_SetParameter(parameter, value, 0)
    # Breathy variants draw from the C library's generator, which espeak-ng seeds with the time of day.
    library.lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
    library.blocks.clear()
    library.phonemes.clear()
    encoded = text.encode()
    library.lib.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _UTF8, None, None)
    library.lib.espeak_Synchronize()
    samples = np.concatenate([np.zeros(0, np.int16), *library.blocks])
    names = [name.translate(_STRESS) for _, name in library.phonemes]
    starts = [start for start, _ in library.phonemes]
    phones = [
        (start, end, name)
        for start, end, name in zip(starts, [*starts, len(samples)][1:], names, strict=True)
        if name and start < end
    ]
    return Speech(samples.astype(np.float32) / 32768, library.sample_rate_hz, phones)
