"""Settings of simulated conversations; free of torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.recipe import Settings

# Fields that only some kinds of voice read; elsewhere they must keep their default, so that none is silently ignored.
_READ_BY = {
    "hours": ("synthetic", "folder"),
    "conversation_seconds": ("synthetic", "folder"),
    "timing": ("synthetic", "folder"),
    "speakers": ("synthetic",),
    "shift_probability": ("synthetic",),
    "cue_strength": ("synthetic",),
    "speech": ("folder",),
    "transcripts": ("respoken",),
    "people": ("respoken",),
    "splits": ("respoken",),
    "renditions": ("respoken",),
}


class SimulateConfig(Settings):
    """A corpus of simulated two-channel conversations. A path may hold environment variables: `$SSL_TT_DATA/speech`."""

    voices: Literal["synthetic", "folder", "respoken"] = "synthetic"
    """Who speaks: a source-filter synthesiser with cues of known strength; real voices from the folder `speech`, where
    shift and hold are a proxy; or espeak-ng saying the dialogues of `transcripts` at their real times."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every draw: the same settings give the same bytes."""
    sample_rate_hz: Literal[8000, 16000] = 16000
    """Sample rate of the audio, Hz."""
    noise_snr_db: tuple[Annotated[float, Field(ge=0, le=60)], Annotated[float, Field(ge=0, le=60)]] = (25.0, 45.0)
    """Lowest and highest ratio of speech to room noise, dB; drawn once a channel."""
    cross_talk_db: Annotated[float, Field(ge=-80, le=0)] | None = None
    """Level at which each channel hears the other, dB; not at all if not given."""

    hours: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    """Audio over all splits, hours. Real voices may yield less for validation and test, which use each clip once."""
    conversation_seconds: Annotated[float, Field(ge=10, le=7200)] = 120.0
    """Length of a conversation, seconds. With real voices it ends earlier when one of the two has no more to say."""
    timing: Annotated[str, Field(min_length=1)] = "builtin"
    """Lengths of utterances, silences, overlaps and backchannels: "builtin", or a folder of TextGrids (one a speaker)
    or RTTM files to fit them to."""
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Share of the audio for validation, where `splits` does not say."""
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of the audio for test, where `splits` does not say. Speakers are disjoint between splits."""

    speakers: Annotated[int, Field(ge=2, le=100_000)] = 80
    """Synthetic voices over all splits."""
    shift_probability: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability that a mutual silence is a shift, independent of all that came before it."""
    cue_strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """How much the end of an utterance tells of what follows: at 0 nothing; at 1 the best possible balanced accuracy is
    about 0.83. The exact value is written beside the data."""

    speech: Annotated[str, Field(min_length=1)] | None = None
    """Folder of speech, <speaker>/*.flac or .wav, for real voices."""
    transcripts: Annotated[str, Field(min_length=1)] | None = None
    """Folder of TextGrids to speak again, CONVERSATION_ROLE.TextGrid with one role a speaker."""
    people: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Who speaks in several re-spoken conversations, with one voice in all: name to patterns of the files' names, such
    as "day3_*_doctor". Everyone else is somebody new."""
    splits: dict[Literal["train", "validation", "test"], tuple[str, ...]] = Field(default_factory=dict)
    """Which re-spoken conversations go where: patterns of their names, such as "day4_consultation0*". Each must match
    one split, and no person two; drawn by person if not given."""
    renditions: Annotated[int, Field(ge=1, le=100)] = 1
    """How often each re-spoken training conversation is there, each time in other voices and another room, so that a
    probe meets more voices than the corpus has people. Validation and test are there once."""

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        for field, kinds in _READ_BY.items():
            if self.voices not in kinds and getattr(self, field) != type(self).model_fields[field].get_default(
                call_default_factory=True
            ):
                raise ValueError(f'{field} is for voices = "{kinds[0]}", given with voices = "{self.voices}": drop it')
        if self.voices == "folder" and self.speech is None:
            raise ValueError('voices = "folder" needs `speech`, the folder of recordings to take the voices from')
        if self.voices == "respoken" and self.transcripts is None:
            raise ValueError('voices = "respoken" needs `transcripts`, the folder of TextGrids to speak again')
        if self.noise_snr_db[0] > self.noise_snr_db[1]:
            raise ValueError(f"noise_snr_db {list(self.noise_snr_db)}: give the lowest ratio first")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share leave nothing to train on: lower one")
        if self.hours * 3600 < self.conversation_seconds:
            raise ValueError(f"hours {self.hours} is less than one conversation of {self.conversation_seconds} s")
        return self
