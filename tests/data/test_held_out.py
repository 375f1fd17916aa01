"""Held-out speakers are in one split alone, and only conversations between splits are left out."""

from itertools import combinations
from pathlib import Path

import pytest

from ssl_tt import cli
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.held_out import hold_out_speakers
from ssl_tt.data.manifest import read_manifest, split_conversations
from ssl_tt.errors import InputError

PEOPLE = [f"person{n}" for n in range(20)]


def call(ann: str, bob: str) -> Conversation:
    return Conversation(f"{ann}+{bob}", None, None, 2, 10.0, (ann, bob), ((Segment(1.0, 2.0),), (Segment(3.0, 4.0),)))


CALLS = [call(ann, bob) for ann, bob in combinations(PEOPLE, 2)]


def test_where_everybody_talks_to_everybody_no_split_of_conversations_is_possible() -> None:
    with pytest.raises(InputError, match="form 1 group that share no speaker"):
        split_conversations(CALLS, 0.1, 0.1, 0)


def test_every_speaker_is_in_one_split_and_what_is_left_out_crosses_two() -> None:
    kept = hold_out_speakers(CALLS, 0.2)
    split_of = {speaker: conversation.split for conversation in kept for speaker in conversation.speakers}
    people = {
        split: sorted(name for name in PEOPLE if split_of[name] == split) for split in ("train", "validation", "test")
    }
    assert [len(names) for names in people.values()] == [12, 4, 4]
    assert len(kept) == 12 * 11 / 2 + 2 * 4 * 3 / 2
    splits = split_conversations(kept, 0.1, 0.1, 0)
    assert {split: len(found) for split, found in splits.items()} == {"train": 66, "validation": 6, "test": 6}
    left_out = {conversation.id for conversation in CALLS} - {conversation.id for conversation in kept}
    assert all(len({split_of[speaker] for speaker in name.split("+")}) == 2 for name in left_out)


def test_the_seed_decides_and_the_order_does_not() -> None:
    first = {conversation.id: conversation.split for conversation in hold_out_speakers(CALLS, 0.2)}
    again = {conversation.id: conversation.split for conversation in hold_out_speakers(CALLS[::-1], 0.2)}
    other = {conversation.id: conversation.split for conversation in hold_out_speakers(CALLS, 0.2, seed=1)}
    assert first == again != other


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0.0, "held-out share 0.0, expected more than 0 and less than 0.5"),
        (0.5, "held-out share 0.5, expected more than 0 and less than 0.5"),
        (0.05, "leaves 153 for train, 0 for validation, 0 for test of 190 conversations, expected some for each"),
    ],
)
def test_shares_that_leave_nothing_are_refused(share: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        hold_out_speakers(CALLS, share)


def test_prepare_names_the_splits_and_says_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for each in CALLS:
        lines = [
            f"SPEAKER {each.id} {channel} {channel}.0 0.5 <NA> <NA> {speaker} <NA> <NA>\n"
            for channel, speaker in enumerate(each.speakers, start=1)
        ]
        (tmp_path / f"{each.id}.rttm").write_text("".join(lines))
    out = tmp_path / "out"
    assert cli.main(["prepare", "rttm", str(tmp_path), "--out", str(out), "--held-out-speakers", "0.2"]) == 0
    assert "112 conversations left out, between speakers of different splits" in capsys.readouterr().out
    assert len(read_manifest(out / "manifest.jsonl")) == 78
    assert cli.main(["prepare", "rttm", str(tmp_path), "--out", str(tmp_path / "all")]) == 0
    assert {conversation.split for conversation in read_manifest(tmp_path / "all" / "manifest.jsonl")} == {None}
