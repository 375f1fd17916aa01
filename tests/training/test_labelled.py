"""A share of the annotated dialogues: which, how much of them, and that probes and heads see no more."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ssl_tt import recipe
from ssl_tt.data.audio import read_window
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.windows import Windows
from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError
from ssl_tt.training import corpora
from ssl_tt.training.compare import compare
from ssl_tt.training.config import CompareRecipe
from ssl_tt.training.feature_windows import FeatureCache
from ssl_tt.training.finetune import split_dialogues
from ssl_tt.training.labelled import labelled
from ssl_tt.turns.activity import activity
from tests.training.test_compare import RECIPE, write_corpus

FRAME_SECONDS = 0.02
SHARES = (0.01, 0.03, 0.1, 0.18, 0.3, 0.5, 0.77, 1.0)
HEAD = (
    "{mode='frozen', head={kind='fc', channels=8}, window_seconds=6.0, batch_windows=2, steps=2, "
    "validate_every_steps=2, validation_windows=2, held_out_share=0.25}"
)


def recordings() -> list[Conversation]:
    """Ten dialogues of 50 to 95 s, every third in two recordings."""
    return [
        Conversation(
            id=f"d{number}-{take}",
            audio=None,
            sample_rate_hz=None,
            channels=2,
            duration_seconds=50.0 + 5 * number,
            speakers=(f"a{number}{take}", f"b{number}{take}"),
            segments=((Segment(1.0, 3.0), Segment(20.0, 45.0)), (Segment(4.0, 19.0),)),
            provenance={"dialogue": f"d{number}"},
        )
        for number in range(10)
        for take in range(2 if number % 3 == 0 else 1)
    ]


def seconds(conversations: list[Conversation]) -> dict[str, float]:
    return {conversation.id: conversation.duration_seconds for conversation in conversations}


@pytest.mark.parametrize("share", SHARES)
def test_the_seconds_are_the_share_to_within_a_frame(share: float) -> None:
    everything = seconds(recordings())
    kept = seconds(labelled(recordings(), share, 0, FRAME_SECONDS))
    assert sum(kept.values()) == pytest.approx(share * sum(everything.values()), abs=FRAME_SECONDS)


@pytest.mark.parametrize("seed", range(4))
def test_smaller_shares_lie_in_larger_ones(seed: int) -> None:
    kept = [seconds(labelled(recordings(), share, seed, FRAME_SECONDS)) for share in SHARES]
    for smaller, larger in pairwise(kept):
        assert all(length <= larger[name] for name, length in smaller.items())


def test_names_and_seed_decide_not_the_order() -> None:
    forth, back = (labelled(recordings()[::step], 0.4, 3, FRAME_SECONDS) for step in (1, -1))
    assert seconds(forth) == seconds(back)
    assert seconds(forth) != seconds(labelled(recordings(), 0.4, 4, FRAME_SECONDS))


@pytest.mark.parametrize("share", SHARES)
def test_recordings_of_a_dialogue_stay_together_and_there_are_two_dialogues(share: float) -> None:
    kept = labelled(recordings(), share, 0, FRAME_SECONDS)
    lengths: dict[str, set[float]] = {}
    for conversation in kept:
        lengths.setdefault(conversation.dialogue, set()).add(conversation.duration_seconds)
    assert len(lengths) >= 2
    assert all(len(each) == 1 for each in lengths.values())
    assert all(sum(c.dialogue == name for c in kept) == (2 if int(name[1:]) % 3 == 0 else 1) for name in lengths)


def test_too_little_is_refused() -> None:
    with pytest.raises(InputError, match=r"data.labelled_share 1e-06 of 10 training dialogues of \d+ s: leaves fewer"):
        labelled(recordings(), 1e-6, 0, FRAME_SECONDS)
    with pytest.raises(InputError, match=r"of 1 training dialogue of 55 s"):
        labelled(recordings()[2:3], 0.5, 0, FRAME_SECONDS)


def test_a_beginning_is_clipped_and_the_beginning_of_a_beginning_is_one() -> None:
    whole = recordings()[0]
    cut = whole.beginning(25.0)
    assert cut.duration_seconds == 25.0
    assert cut.segments == ((Segment(1.0, 3.0), Segment(20.0, 25.0)), (Segment(4.0, 19.0),))
    assert cut.beginning(3.5).segments == ((Segment(1.0, 3.0),), ())
    assert cut.beginning(3.5) == whole.beginning(3.5)
    assert whole.beginning(60.0) is whole
    assert replace(whole, segments=None).beginning(3.5).segments is None


# ------------------------------------------------------------------------------------------------- with their audio


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


def load(corpus: Path, *options: str) -> CompareRecipe:
    path = corpus / "recipe.toml"
    one = RECIPE.replace('[objectives.vqvae]\nkind = "vqvae"\ncodes = 8\ncode_channels = 4\n', "")
    path.write_text(one.replace("CORPUS", str(corpus)).replace("seeds = [0, 1]", "seeds = [0]"))
    return recipe.load(path, CompareRecipe, options)


def test_only_what_is_learned_from_becomes_less(corpus: Path) -> None:
    whole = corpora.conversations(load(corpus))
    part = corpora.conversations(load(corpus, "--data.labelled-share", "0.5"))
    assert [list(of) for of in part[0].values()] == [list(of) for of in whole[0].values()]
    assert all(part[1][split] == whole[1][split] for split in ("validation", "test"))
    assert set(seconds(part[1]["train"])) < set(seconds(whole[1]["train"]))


def test_nothing_after_the_beginning_is_read(corpus: Path, tmp_path: Path) -> None:
    encoder = Encoder(EncoderConfig(channels=4, output_channels=4, stacks=(StackConfig(dilations=(1, 3)),)))
    (whole, *_) = corpora.conversations(load(corpus))[1]["train"]
    cut = whole.beginning(7.03)
    n_frames = int(7.03 * encoder.frame_rate_hz)
    assert len(activity(cut, encoder.frame_rate_hz)) == n_frames
    cache = FeatureCache(tmp_path, encoder.eval())
    assert cache.features(cut).shape[1] == n_frames
    np.testing.assert_allclose(cache.features(cut), cache.features(whole)[:, :n_frames], atol=1e-5)
    np.testing.assert_array_equal(read_window(cut, 1.0, 16000, 16000), read_window(whole, 1.0, 16000, 16000))
    windows = Windows([cut], 16000, 16000, encoder.frame_rate_hz, seed=0)
    assert len(windows) == 7
    assert all(windows[item].samples.shape == (2, 16000) for item in range(70))


def test_probes_and_heads_learn_from_fewer_events_and_pretraining_is_the_same(corpus: Path, tmp_path: Path) -> None:
    made: dict[str, Path] = {}
    found = {
        share: compare(
            load(corpus, "--data.labelled-share", share, "--heads.fc", HEAD), tmp_path / share, quiet=True, made=made
        )
        for share in ("1.0", "0.45")
    }
    assert len(made) == 1
    assert found["1.0"].runs == found["0.45"].runs
    whole, part = (each.counts["train"] for each in found.values())
    assert part["hours"] == pytest.approx(0.45 * whole["hours"], rel=1e-3)
    assert all(0 < part[key] < whole[key] for key in ("shift", "hold", "frames", "conversations"))
    assert found["1.0"].counts["test"] == found["0.45"].counts["test"]
    learned = corpora.conversations(found["0.45"].recipe)[1]["train"]
    fitted, held_out = split_dialogues(learned, 0.25, 0)
    assert [len(fitted), len(held_out)] == [1, 1]
    for name in (("cpc", "encoder"), ("cpc", "fc"), ("random", "fc"), ("logmel", "logmel")):
        beliefs = [each.found[name][0].stretch for each in found.values()]
        assert beliefs[0] is not None
        assert not np.allclose(*beliefs, equal_nan=True), name


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--data.labelled-share", "0.00001"), "data.labelled_share 1e-05 of 4 training dialogues"),
        (
            ("--data.labelled-share", "0.1"),
            "expected 2 or more, .*: add conversations, raise data.labelled_share",
        ),
        (("--data.labelled-share", "0.3", "--heads.fc", HEAD.replace("6.0", "16.0")), "heads.fc: a window of 16 s, "),
    ],
)
def test_a_share_that_nothing_can_be_learned_from_is_refused_before_training(
    corpus: Path, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        compare(load(corpus, *options), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "runs").exists()
