"""Phones beside a manifest: written, read, refused, and found at frames."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_tt.data.conversation import Conversation
from ssl_tt.data.phones import PHONES, Phone, phone_at, read_phones, write_phones
from ssl_tt.errors import InputError

CALL = Conversation(
    id="call", audio=None, sample_rate_hz=None, channels=2, duration_seconds=2.0, speakers=("ann", "bob")
)
SPOKEN = {"call": ([Phone(0.1, 0.2, "h"), Phone(0.2, 0.5, "ə")], [])}


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    write_phones(tmp_path / PHONES, [CALL], SPOKEN)
    assert dict(read_phones(tmp_path / "manifest.jsonl", [CALL])) == {"call": [SPOKEN["call"][0], []]}


def test_speakers_without_a_line_have_no_phones(tmp_path: Path) -> None:
    (tmp_path / PHONES).write_text('{"conversation": "call", "speaker": "bob", "phones": [[0.0, 1.0, "a"]]}\n\n')
    assert read_phones(tmp_path / "manifest.jsonl", [CALL])["call"] == [(), [Phone(0.0, 1.0, "a")]]


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("{", "line 1: Invalid JSON"),
        ({"speaker": "ann", "phones": []}, "conversation: Field required"),
        ({"conversation": "other", "speaker": "ann", "phones": []}, "'other' is not in manifest.jsonl"),
        ({"conversation": "call", "speaker": "eve", "phones": []}, "'eve' of 'call', expected 'ann' or 'bob'"),
        ({"conversation": "call", "speaker": "ann", "phones": [[0.5, 0.4, "a"]]}, "from 0.5 to 0.4 s after"),
        ({"conversation": "call", "speaker": "ann", "phones": [[0, 0.4, "a"], [0.3, 1, "b"]]}, "ends at 0.4 s"),
        ({"conversation": "call", "speaker": "ann", "phones": [[0, 0.4, ""]]}, "expected labels"),
        ({"conversation": "call", "speaker": "ann", "phones": [[0, 2.5, "a"]]}, "after the 2.0 s of the conversation"),
        ({"conversation": "call", "speaker": "ann", "phones": [[0, "x", "a"]]}, "phones.0.1"),
        ('{"conversation": "call", "speaker": "ann", "phones": [[NaN, 1, "a"]]}', "finite number"),
        (
            "\n" + 2 * '{"conversation": "call", "speaker": "ann", "phones": []}\n',
            "line 3: speaker 'ann' of 'call' again",
        ),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(tmp_path: Path, line: object, refused: str) -> None:
    (tmp_path / PHONES).write_text(line if isinstance(line, str) else json.dumps(line))
    with pytest.raises(InputError) as error:
        read_phones(tmp_path / "manifest.jsonl", [CALL])
    assert refused in str(error.value)
    assert "\n" not in str(error.value)


def test_a_corpus_without_phones_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"phones\.jsonl: No such file.*write them there, or, .* remove .* made anew"):
        read_phones(tmp_path / "manifest.jsonl", [CALL])


def test_a_frame_has_the_phone_in_its_middle() -> None:
    # Frames of 20 ms: the middles are 10, 30, 50 ... ms.
    phones = [Phone(0.012, 0.05, "a"), Phone(0.05, 0.08, "b"), Phone(0.1, 0.12, "c")]
    assert phone_at(phones, np.arange(7), 50.0).tolist() == ["", "a", "b", "b", "", "c", ""]
    assert phone_at(phones, np.array([5, 1]), 50.0).tolist() == ["c", "a"]
    assert phone_at([], np.arange(2), 50.0).tolist() == ["", ""]
