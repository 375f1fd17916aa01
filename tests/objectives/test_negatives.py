import pytest
import torch
from torch.nn import functional as F

from ssl_tt.errors import InputError
from ssl_tt.objectives.cpc import info_nce
from ssl_tt.objectives.negatives import candidate_sequences, draw_pool

CONVERSATION = torch.tensor([0, 0, 5])
SPEAKERS, FRAMES = 2, 9

# The rule in words for the negative (window, speaker, frame) of a positive, and how many frames obey it.
RULES = {
    "sequence": (lambda w, s, v, r: (w, s) == (v, r), lambda w: FRAMES - 1),
    "other_channel": (lambda w, s, v, r: w == v and s != r, lambda w: FRAMES),
    "same_conversation": (
        lambda w, s, v, r: CONVERSATION[w] == CONVERSATION[v],
        lambda w: (4 if w < 2 else 2) * FRAMES - 1,
    ),
    "other_conversation": (
        lambda w, s, v, r: CONVERSATION[w] != CONVERSATION[v],
        lambda w: (2 if w < 2 else 4) * FRAMES,
    ),
    "batch": (lambda w, s, v, r: True, lambda w: 6 * FRAMES - 1),
}


def draw(source: str, count: int):
    candidates = candidate_sequences(source, CONVERSATION, SPEAKERS)
    return draw_pool(candidates, torch.arange(len(candidates)), FRAMES, count)


def negatives_of(pool, sequence: int, frame: int) -> list[int]:
    """The slow twin: the frames, counted through the batch, that one positive is held against."""
    kept = [
        column
        for column in range(pool.frames.shape[1])
        if pool.left_out is None or column != pool.left_out[sequence, frame]
    ]
    return pool.frames[sequence, kept].tolist()


@pytest.mark.parametrize("source", RULES)
@pytest.mark.parametrize("count", [1, 5, 8, 9, 1000])
def test_every_positive_has_the_asked_number_of_distinct_negatives_from_the_source_and_never_itself(source, count):
    torch.manual_seed(count)
    pool = draw(source, count)
    rule, available = RULES[source]
    fewest = min(available(window) for window in range(len(CONVERSATION)))
    for sequence in range(6):
        window, speaker = divmod(sequence, SPEAKERS)
        for frame in range(FRAMES):
            negatives = negatives_of(pool, sequence, frame)
            assert len(set(negatives)) == len(negatives) == min(count, fewest)
            for negative in negatives:
                other, _ = divmod(negative, FRAMES)
                assert negative != sequence * FRAMES + frame
                assert rule(window, speaker, *divmod(other, SPEAKERS))


@pytest.mark.parametrize("source", RULES)
def test_every_allowed_frame_is_drawn_alike_often(source):
    torch.manual_seed(0)
    times = torch.zeros(6 * FRAMES)
    n_draws = 800
    for _ in range(n_draws):
        for negative in negatives_of(draw(source, 4), sequence=1, frame=3):
            times[negative] += 1
    _, available = RULES[source]
    expected = 4 * n_draws / available(0)
    drawn = times[times > 0]
    assert len(drawn) == available(0)
    # Counts of so many draws vary by their square root.
    assert (drawn - expected).abs().max() < 5 * expected**0.5


def test_draws_depend_on_the_seed_of_torch_alone():
    pools = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        pools.append(draw("batch", 6).frames)
    assert torch.equal(pools[0], pools[1])
    assert not torch.equal(pools[0], pools[2])


def test_an_own_place_on_another_rank_is_left_out_there():
    torch.manual_seed(0)
    own = torch.arange(2) + 2  # rank 1 of two ranks with two sequences each
    pool = draw_pool(torch.ones(2, 4, dtype=torch.bool), own, FRAMES, 1000)
    for sequence in range(2):
        for frame in range(FRAMES):
            assert set(range(4 * FRAMES)) - set(negatives_of(pool, sequence, frame)) == {
                (sequence + 2) * FRAMES + frame
            }


@pytest.mark.parametrize(
    ("source", "conversation", "speakers", "given"),
    [("other_channel", [0, 1], 1, "one channel"), ("other_conversation", [3, 3], 2, "only one conversation")],
)
def test_a_batch_without_such_negatives_is_refused_with_what_to_do(source, conversation, speakers, given):
    with pytest.raises(InputError, match=f"{source}.*{given}.*choose another source"):
        candidate_sequences(source, torch.tensor(conversation), speakers)


@pytest.mark.parametrize("includes_own", [True, False])
def test_info_nce_equals_the_cross_entropy_over_listed_scores(includes_own):
    torch.manual_seed(0)
    predicted, frames = torch.randn(6, FRAMES, 7), torch.randn(6, FRAMES, 7)
    pool = draw("batch" if includes_own else "other_channel", 5)
    every = frames.flatten(0, 1)
    loss, hit = info_nce(predicted, frames, every[pool.frames], pool.left_out)
    for sequence in range(6):
        for frame in range(FRAMES):
            candidates = [sequence * FRAMES + frame, *negatives_of(pool, sequence, frame)]
            scores = torch.stack([every[c] @ predicted[sequence, frame] for c in candidates])
            expected = F.cross_entropy(scores[None], torch.tensor([0]))
            torch.testing.assert_close(loss[sequence, frame], expected)
            assert hit[sequence, frame] == (scores.argmax() == 0)


@pytest.mark.parametrize("source", ["sequence", "other_channel"])
def test_equal_embeddings_cost_the_logarithm_of_negatives_plus_one(source):
    pool = draw(source, 6)
    same = torch.full((6, FRAMES, 4), 0.5)
    loss, hit = info_nce(same, same, same.flatten(0, 1)[pool.frames], pool.left_out)
    torch.testing.assert_close(loss, torch.full_like(loss, 7.0).log(), rtol=0, atol=1e-6)
    assert not hit.any()
