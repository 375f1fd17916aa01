"""Audio comes back as it was written, in any part and at any rate, and what is damaged is refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ssl_tt.data.audio import (
    probe_header,
    read,
    read_window,
    sha256,
    verify_header,
    warnings,
    write_wav,
    write_wav_blocks,
)
from ssl_tt.data.conversation import Conversation
from ssl_tt.errors import InputError

RATE_HZ = 16000


def noise(channels: int = 2, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, int(seconds * RATE_HZ)))
    return (np.rint(drawn * 32768) / 32768).astype(np.float32)


def conversation(path: Path, seconds: float = 2.0, rate_hz: int = RATE_HZ) -> Conversation:
    return Conversation("call", path, rate_hz, 2, seconds, ("ann", "bob"))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_wav(tmp_path / "call.wav", noise(), RATE_HZ)
    samples = read(tmp_path / "call.wav")
    assert samples.dtype == np.float32
    assert samples.flags.c_contiguous
    np.testing.assert_array_equal(samples, noise())


def test_writing_clips_and_repeats_its_bytes(tmp_path: Path) -> None:
    audio = np.array([[-3.0, -1.0, 0.0, 1.0, 3.0]])
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, audio, RATE_HZ)
    assert sha256(tmp_path / "a.wav") == sha256(tmp_path / "b.wav")
    np.testing.assert_array_equal(read(tmp_path / "a.wav") * 32768, [[-32768, -32768, 0, 32767, 32767]])


@pytest.mark.parametrize(
    ("ending", "subtype"), [("wav", "PCM_16"), ("wav", "FLOAT"), ("wav", "PCM_24"), ("flac", "PCM_16")]
)
def test_a_part_equals_the_same_part_of_the_whole(tmp_path: Path, ending: str, subtype: str) -> None:
    path = tmp_path / f"call.{ending}"
    soundfile.write(path, noise().T, RATE_HZ, subtype=subtype)
    np.testing.assert_array_equal(read(path, 0.5, 0.75), noise()[:, 8000:20000])
    np.testing.assert_array_equal(read_window(conversation(path), 0.5, 12000, RATE_HZ), noise()[:, 8000:20000])


def test_many_blocks_equal_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wav(tmp_path / "call.wav", noise(), RATE_HZ)
    monkeypatch.setattr("ssl_tt.data.audio._BLOCK_SAMPLES", 999)
    np.testing.assert_array_equal(read(tmp_path / "call.wav"), noise())


@pytest.mark.parametrize(("from_hz", "to_hz"), [(16000, 8000), (8000, 16000), (44100, 16000), (16000, 44100)])
def test_a_resampled_part_equals_the_same_part_of_the_whole(tmp_path: Path, from_hz: int, to_hz: int) -> None:
    path = tmp_path / "call.wav"
    write_wav(path, noise(), from_hz)
    whole = read(path, sample_rate_hz=to_hz)
    assert whole.shape[1] == 32000 * to_hz // from_hz
    for start in (0, 1, 777, whole.shape[1] - 1000):
        part = read(path, start / to_hz, 1000 / to_hz, to_hz)
        np.testing.assert_allclose(part, whole[:, start : start + 1000], atol=1e-6)


def test_resampling_keeps_a_tone_and_drops_what_the_new_rate_cannot_hold(tmp_path: Path) -> None:
    seconds = np.arange(32000) / RATE_HZ
    tones = 0.5 * np.sin(2 * np.pi * np.array([[440.0], [6000.0]]) * seconds)
    write_wav(tmp_path / "call.wav", tones, RATE_HZ)
    low, high = read(tmp_path / "call.wav", sample_rate_hz=8000)[:, 100:-100]
    np.testing.assert_allclose(low, tones[0, ::2][100:-100], atol=2e-3)
    assert np.abs(high).max() < 2e-3


@pytest.mark.parametrize(
    ("start", "duration", "valid"),
    [(0.0, 2.0, True), (1.5, 0.5, True), (1.5, 0.6, False), (-0.1, 1.0, False), (2.0, None, False)],
)
def test_no_part_reaches_past_the_end(tmp_path: Path, start: float, duration: float | None, valid: bool) -> None:
    write_wav(tmp_path / "call.wav", noise(), RATE_HZ)
    if valid:
        read(tmp_path / "call.wav", start, duration)
    else:
        with pytest.raises(InputError, match=r"call.wav: asked for .* of its 2.000 s"):
            read(tmp_path / "call.wav", start, duration)


# Each makes a file from the bytes of a good 16-bit WAV of 2 s.
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda wav: b"", "empty file, expected audio"),
    "no audio": (lambda wav: b"Dear diary, " * 100, "not audio that can be read"),
    "zeros": (lambda wav: bytes(len(wav)), "not audio that can be read"),
    "cut to the header": (lambda wav: wav[:44], "truncated"),
    "cut inside the header": (lambda wav: wav[:30], r"not audio that can be read|truncated"),
    "cut in the middle": (lambda wav: wav[: len(wav) // 2], r"truncated: the header claims \d+ bytes, \d+ are there"),
    "one sample short": (lambda wav: wav[:-4], "truncated"),
    "claims 2 GiB": (lambda wav: wav[:40] + b"\xff\xff\xff\x7f" + wav[44:], "truncated"),
    "written to a pipe": (lambda wav: wav[:40] + b"\xff\xff\xff\xff" + wav[44:], "truncated"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_by_its_header(tmp_path: Path, damage: str) -> None:
    change, message = DAMAGES[damage]
    path = tmp_path / "call.wav"
    write_wav(path, noise(), RATE_HZ)
    assert probe_header(path).n_samples == 2 * RATE_HZ
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=message) as caught:
        probe_header(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [(name, "PCM_16") for name in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST", "FLAC")]
    + [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")],
)
def test_no_format_hides_that_its_end_is_missing(tmp_path: Path, container: str, subtype: str, share: float) -> None:
    path = tmp_path / "call"
    soundfile.write(path, noise(seconds=4).T, RATE_HZ, format=container, subtype=subtype)
    assert read(path).shape == (2, 4 * RATE_HZ)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"truncated|decoded"):
        read(path)


def test_a_header_that_claims_days_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "call.flac"
    soundfile.write(path, noise().T, RATE_HZ)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # the 36 bits of STREAMINFO that count the samples
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"claims 1193 hours, more than \d+ bytes can hold"):
        read(path)


def test_the_densest_flac_is_not_taken_for_damaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.flac", np.zeros((RATE_HZ * 600, 2), dtype=np.int16), RATE_HZ)
    assert probe_header(tmp_path / "silence.flac").duration_seconds == 600


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_named_with_their_place(tmp_path: Path, value: float) -> None:
    audio = noise()
    audio[1, 20_000] = value
    soundfile.write(tmp_path / "call.wav", audio.T, RATE_HZ, subtype="FLOAT")
    assert np.isfinite(read(tmp_path / "call.wav", 0, 1)).all()
    with pytest.raises(InputError, match=rf"{value} at sample 20000 of channel 1 \(1.250 s\)"):
        read(tmp_path / "call.wav", 1.1)


@pytest.mark.parametrize(("channels", "valid"), [(1, False), (2, True), (3, False), (64, False), (1000, False)])
def test_only_the_number_of_channels_of_the_manifest_will_do(tmp_path: Path, channels: int, valid: bool) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, np.zeros((200, channels)), 1000, format="WAV")
    if valid:
        assert verify_header(conversation(path, 0.2, 1000)).channels == 2
    else:
        with pytest.raises(
            InputError, match=rf"call.wav: {channels} channels?, expected (2|at most 64) \(one a speaker\)"
        ):
            verify_header(conversation(path, 0.2, 1000))


@pytest.mark.parametrize(
    ("seconds", "rate_hz", "message"),
    [
        (2.0, RATE_HZ, None),
        (4.0, 8000, "16000 Hz, expected the 8000 Hz of the manifest"),
        (3.0, RATE_HZ, "32000 samples a channel, expected the 48000 of the manifest"),
    ],
)
def test_rate_and_length_must_be_those_of_the_manifest(
    tmp_path: Path, seconds: float, rate_hz: int, message: str | None
) -> None:
    write_wav(tmp_path / "call.wav", noise(), RATE_HZ)
    item = conversation(tmp_path / "call.wav", seconds, rate_hz)
    if message is None:
        read_window(item, 0, 100, RATE_HZ)
    else:
        with pytest.raises(InputError, match=message):
            read_window(item, 0, 100, RATE_HZ)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"call.wav: No such file or directory; expected an audio file"):
        read(tmp_path / "call.wav")
    with pytest.raises(InputError, match="not a file"):
        read(tmp_path)


def test_a_file_that_changes_is_probed_again(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    write_wav(path, noise(seconds=1), RATE_HZ)
    assert probe_header(path).n_samples == RATE_HZ
    write_wav(path, noise(seconds=2), RATE_HZ)
    assert probe_header(path).n_samples == 2 * RATE_HZ


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda audio: audio, []),
        (lambda audio: audio * [[1], [0]], ["channel 1 is silent"]),
        (lambda audio: audio * [[10], [1]], ["channel 0 is clipped"]),
        (lambda audio: audio / np.abs(audio).max(), []),
    ],
)
def test_silent_and_clipped_channels_are_warned_of(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], expected: list[str]
) -> None:
    write_wav(tmp_path / "call.wav", change(noise()), RATE_HZ)
    found = warnings(tmp_path / "call.wav")
    assert len(found) == len(expected)
    assert all(part in line and "call.wav" in line for part, line in zip(expected, found, strict=True))


def test_annotation_alone_cannot_be_read() -> None:
    with pytest.raises(InputError, match="annotation only, expected audio"):
        read_window(Conversation("call", None, None, 1, 2.0, ("ann",)), 0, 100, RATE_HZ)


def test_an_ogg_that_ends_between_two_pages_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "call.ogg"
    soundfile.write(path, noise(seconds=4).T, RATE_HZ)
    pages = path.read_bytes().split(b"OggS")
    path.write_bytes(b"OggS".join(pages[:-1]))
    with pytest.raises(InputError, match="truncated: the stream has no last page"):
        probe_header(path)


def test_a_file_compressed_by_shorten_says_how_to_convert_it(tmp_path: Path) -> None:
    header = "NIST_1A\n   1024\nsample_count -i 16000\nsample_n_bytes -i 1\nchannel_count -i 2\nsample_rate -i 8000\n"
    header += "sample_coding -s26 ulaw,embedded-shorten-v2.00\nend_head\n"
    path = tmp_path / "fe_03_00001.sph"
    path.write_bytes(header.encode().ljust(1024) + b"ajkg\x02" + bytes(9000))
    expected = r"compressed by shorten, which cannot .* sph2pipe -f wav fe_03_00001.sph fe_03_00001.wav"
    with pytest.raises(InputError, match=expected):
        probe_header(path)
    path.write_bytes(header.replace("ulaw,embedded-shorten-v2.00", "pcm").encode())
    with pytest.raises(InputError, match=r"^((?!shorten).)*$"):
        probe_header(path)


def test_blocks_make_the_same_bytes_as_the_whole(tmp_path: Path) -> None:
    write_wav(tmp_path / "whole.wav", noise(), RATE_HZ)
    write_wav_blocks(tmp_path / "blocks.wav", np.array_split(noise(), 7, axis=1), 2, RATE_HZ)
    assert (tmp_path / "blocks.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


@pytest.mark.parametrize("rate_hz", [1, 999, 384_001, 2_147_483_647])
def test_a_rate_that_no_recording_has_is_refused_before_it_is_resampled(rate_hz: int, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, noise(seconds=0.1).T, rate_hz)
    with pytest.raises(InputError, match=rf"{rate_hz} Hz, expected 1000 to 384000: damaged header"):
        read(path, sample_rate_hz=RATE_HZ)
