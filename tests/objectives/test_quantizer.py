import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from ssl_tt.objectives.config import QuantizerConfig
from ssl_tt.objectives.jitter import jittered
from ssl_tt.objectives.quantizer import Quantizer


def quantizer(**changes: Any) -> Quantizer:
    torch.manual_seed(0)
    small = {"codes": 6, "code_channels": 3, "ema_decay": 0.9, "revive_below": 0.0}
    return Quantizer(QuantizerConfig(**(small | changes)))


def state(module: Quantizer) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_each_vector_becomes_its_nearest_code():
    module = quantizer().eval()
    x = torch.randn(2, 5, 3)
    quantized = module(x)
    for b in range(2):
        for t in range(5):
            distances = [(x[b, t] - code).norm() for code in module.codebook]
            nearest = min(range(6), key=lambda k: distances[k])
            assert quantized.codes[b, t] == nearest
            torch.testing.assert_close(quantized.vectors[b, t], module.codebook[nearest])


def test_the_gradient_of_the_vectors_goes_straight_through_and_that_of_commitment_pulls_to_the_code():
    module = quantizer().eval()
    x = torch.randn(2, 5, 3, requires_grad=True)
    weight = torch.randn(2, 5, 3)
    quantized = module(x)
    (gradient,) = torch.autograd.grad((quantized.vectors * weight).sum(), x, retain_graph=True)
    assert torch.equal(gradient, weight)
    (gradient,) = torch.autograd.grad(quantized.commitment, x)
    torch.testing.assert_close(gradient, 2 * (x - quantized.vectors).detach() / x.numel())


def test_moving_averages_equal_those_of_a_loop_over_the_vectors():
    module = quantizer()
    batches = [[torch.randn(2, 4, 3) for _ in range(2)] for _ in range(3)]  # three updates of two batches each
    module(batches[0][0])  # gives the first codes
    module._seen.clear()
    counts, sums = module.counts.tolist(), [row.clone() for row in module.sums]
    codebook = module.codebook.clone()
    for update in batches:
        n, total = [0] * 6, [torch.zeros(3) for _ in range(6)]
        for x in update:
            module(x)
            for vector in x.flatten(0, 1):
                k = int((codebook - vector).square().sum(dim=1).argmin())
                n[k] += 1
                total[k] += vector
        module.update()
        for k in range(6):
            counts[k] = 0.9 * counts[k] + 0.1 * n[k]
            sums[k] = 0.9 * sums[k] + 0.1 * total[k]
            codebook[k] = sums[k] / counts[k]
        torch.testing.assert_close(module.counts, torch.tensor(counts))
        torch.testing.assert_close(module.sums, torch.stack(sums))
        torch.testing.assert_close(module.codebook, codebook)


def test_the_first_codes_are_distinct_vectors_of_the_first_training_batch():
    module = quantizer()
    x = torch.randn(4, 5, 3)
    assert module(x).codes.unique().numel() == 6
    rows = {tuple(row) for row in x.flatten(0, 1).tolist()}
    assert {tuple(row) for row in module.codebook.tolist()} <= rows


def test_a_dead_code_takes_an_input_and_both_its_averages_start_anew():
    module = quantizer(revive_below=0.5)
    module(torch.randn(4, 5, 3))
    module._seen.clear()
    module.codebook[2] = 1e3  # nothing comes near it
    module.counts[2] = 0.5
    x = torch.randn(4, 5, 3)
    module(x)
    module.update()
    assert module.counts[2] == 1.5
    assert (x.flatten(0, 1) == module.codebook[2]).all(dim=1).any()
    torch.testing.assert_close(module.sums[2] / module.counts[2], module.codebook[2])
    assert module.counts.min() > 0.5


def test_a_revived_code_lives_on_for_as_long_as_its_average_lasts():
    module = quantizer(revive_below=0.5)
    module(torch.randn(4, 5, 3))
    module.update()
    revived = module.codebook[0].clone()
    module.counts[0], module.sums[0] = 1.5, 1.5 * revived
    far = torch.zeros(1, 8, 3) - 1e3
    module.codebook[1] = -1e3
    for _ in range(10):  # 1.5 * 0.9^10 = 0.523
        module(far)
        module.update()
    torch.testing.assert_close(module.codebook[0], revived)
    module(far)
    module.update()
    assert module.counts[0] == 1.5


def test_revival_mends_a_start_in_silence_that_made_all_codes_one():
    for revive_below, used in ((0.3, 8), (0.0, 1)):
        module = quantizer(codes=8, ema_decay=0.5, revive_below=revive_below)
        module(torch.zeros(4, 5, 3))
        for _ in range(30):
            quantized = module(torch.rand(4, 20, 3) + 1)
            module.update()
        assert quantized.used_codes == used


@pytest.mark.parametrize("how", ["eval", "no_grad"])
def test_only_training_changes_the_codebook(how):
    module = quantizer(revive_below=0.5)
    module(torch.randn(4, 5, 3))
    module.update()
    before = state(module)
    module.train(how != "eval")
    with torch.set_grad_enabled(how != "no_grad"):
        module(torch.randn(4, 5, 3))
    module.update()
    assert same(before, state(module))


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_input_that_is_not_finite_touches_nothing(started, bad):
    module = quantizer(revive_below=0.5)
    if started:
        module(torch.randn(4, 5, 3))
        module.update()
    before = state(module)
    x = torch.randn(4, 5, 3)
    x[:] = bad
    module(x)
    module.update()
    assert same(before, state(module))
    x = torch.randn(4, 5, 3)
    module(x)
    module.update()
    assert module.started
    assert all(value.isfinite().all() for value in state(module).values())
    assert not same(before, state(module))


def test_two_accumulated_batches_are_one_update_of_their_union():
    x = torch.randn(4, 5, 3)
    halves, whole = quantizer(), quantizer()
    for module in (halves, whole):
        module._start(x.flatten(0, 1)[:6, None])
        module.load_state_dict(halves.state_dict())
    halves(x[:2])
    halves(x[2:])
    whole(x)
    for module in (halves, whole):
        module.update()
    for name, value in halves.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name])


def test_quantisation_inside_autocast_stays_in_fp32():
    module = quantizer(revive_below=0.5)
    x = torch.randn(4, 5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quantized = module(x)
        codes, vectors = module.quantize(x)
    assert quantized.vectors.dtype == quantized.commitment.dtype == torch.float32
    assert torch.equal(codes, quantized.codes)
    assert torch.equal(vectors, quantized.vectors)
    module.update()
    assert all(value.dtype in (torch.float32, torch.bool) for value in module.state_dict().values())


def test_perplexity_counts_codes_used_alike():
    module = quantizer(codes=4, code_channels=1).eval()
    module.codebook.copy_(torch.tensor([[0.0], [1.0], [2.0], [3.0]]))
    for used, vectors in ((1, [2.0] * 12), (2, [0.0, 3.0] * 6), (4, [0.0, 1.0, 2.0, 3.0] * 3)):
        quantized = module(torch.tensor(vectors).view(1, 12, 1))
        torch.testing.assert_close(quantized.perplexity, torch.tensor(float(used)))
        assert quantized.used_codes == used


def test_used_alike_perplexity_is_the_number_of_codes_of_each_group():
    module = quantizer(codes=4, code_channels=4, groups=2).eval()
    module.codebook.copy_(torch.tensor([[0.0, 0], [1, 0], [2, 0], [3, 0]] * 2))
    first, second = torch.tensor([0.0, 1, 2, 3] * 4), torch.tensor([0.0] * 4 + [1] * 4 + [2] * 4 + [3] * 4)
    x = torch.stack([first, torch.zeros(16), second, torch.zeros(16)], dim=1)[None]
    torch.testing.assert_close(module(x).perplexity, torch.tensor(4.0))
    x[..., 2] = 1.0  # the second group uses one code alone
    quantized = module(x)
    torch.testing.assert_close(quantized.perplexity, torch.tensor((4.0 + 1.0) / 2))
    assert quantized.used_codes == 2.5
    assert torch.equal(quantized.codes[0], torch.stack([first.long(), torch.ones(16).long()], dim=1))


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("start", ["samples", "kmeans"])
def test_groups_are_quantizers_side_by_side(start, distance):
    """The slow twin: one quantizer for each part of the channels, which starts from the same inputs."""
    common = {"revive_below": 0.4, "codebook_start": start, "distance": distance}
    grouped = quantizer(code_channels=6, groups=2, **common)
    parts = [quantizer(**common) for _ in range(2)]
    for step in range(4):
        x = torch.randn(3, 8, 6, generator=torch.Generator().manual_seed(step))
        torch.manual_seed(step)
        found = grouped(x)
        expected = []
        for part, own in zip(parts, x.chunk(2, dim=2), strict=True):
            torch.manual_seed(step)  # the groups share the inputs that they start from
            expected.append(part(own))
        assert torch.equal(found.codes, torch.stack([each.codes for each in expected], dim=2))
        torch.testing.assert_close(found.vectors, torch.cat([each.vectors for each in expected], dim=2))
        torch.testing.assert_close(found.commitment, sum(each.commitment for each in expected) / 2)
        before = grouped.counts.clone()
        for module in (grouped, *parts):
            module.config = module.config.model_copy(update={"revive_below": 0.0})  # which would draw
            module.update()
        assert not torch.equal(before, grouped.counts)
        for name in ("codebook", "counts", "sums"):
            value = torch.cat([part.state_dict()[name] for part in parts])
            torch.testing.assert_close(grouped.state_dict()[name], value)


def test_a_dead_code_of_a_group_takes_that_part_of_an_input():
    module = quantizer(code_channels=6, groups=2, revive_below=0.5)
    module(torch.randn(4, 5, 6))
    module._seen.clear()
    module.codebook[2], module.codebook[9] = 1e3, -1e3
    module.counts[2] = module.counts[9] = 0.5
    x = torch.randn(4, 5, 6)
    module(x)
    module.update()
    for row, part in ((2, x[..., :3]), (9, x[..., 3:])):
        assert (part.flatten(0, 1) == module.codebook[row]).all(dim=1).any()
        assert module.counts[row] == 1.5


def test_cosine_distance_finds_the_smallest_angle_and_gives_vectors_of_length_one():
    module = quantizer(distance="cosine")
    x = torch.randn(2, 20, 3) * torch.rand(2, 20, 1).exp() * 10
    module(x)
    module.update()
    module.eval()
    quantized = module(x)
    angles = F.cosine_similarity(x[:, :, None], module.codebook, dim=3)
    assert torch.equal(quantized.codes, angles.argmax(dim=2))
    torch.testing.assert_close(quantized.vectors.norm(dim=2), torch.ones(2, 20))
    # |x - e|^2 = 2 - 2 cos for lengths of 1; the mean is over channels too.
    torch.testing.assert_close(quantized.commitment, (2 - 2 * angles.amax(dim=2)).mean() / 3)
    assert torch.equal(module(100 * x).codes, quantized.codes)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("groups", [1, 2])
def test_codes_alone_give_their_vectors_again(groups, distance):
    module = quantizer(code_channels=6, groups=groups, distance=distance).eval()
    codes, vectors = module.quantize(torch.randn(2, 5, 6))
    assert torch.equal(module.vectors_of(codes), vectors)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_learned_codebook_moves_by_its_loss_towards_its_inputs(distance):
    module = quantizer(codebook="learned", distance=distance)
    assert [name for name, _ in module.named_parameters()] == ["codebook"]
    x = torch.randn(4, 5, 3, requires_grad=True)
    quantized = module(x)
    torch.testing.assert_close(quantized.codebook_loss, quantized.commitment)
    (gradient,) = torch.autograd.grad(quantized.commitment, module.codebook, retain_graph=True, allow_unused=True)
    assert gradient is None
    (gradient,) = torch.autograd.grad(quantized.codebook_loss, x, retain_graph=True, allow_unused=True)
    assert gradient is None
    (gradient,) = torch.autograd.grad(quantized.codebook_loss, module.codebook)
    if distance == "euclidean":
        for k in range(6):
            pull = (module.codebook[k] - x[quantized.codes == k]).sum(dim=0)
            torch.testing.assert_close(gradient[k], 2 * pull / x.numel())
    optimizer = torch.optim.SGD(module.parameters(), lr=3.0)
    for _ in range(30):
        loss = module(x.detach()).codebook_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        module.update()
    assert module(x).codebook_loss < 0.8 * quantized.codebook_loss


def test_a_dead_code_that_is_learned_takes_an_input():
    module = quantizer(codebook="learned", revive_below=0.5)
    module(torch.randn(4, 5, 3))
    with torch.no_grad():
        module.codebook[2] = 1e3
    x = torch.randn(4, 5, 3)
    for _ in range(12):  # 1.5 * 0.9^11 < 0.5
        module(x)
        module.update()
    assert (x.flatten(0, 1) == module.codebook[2].detach()).all(dim=1).any()


def test_moving_averages_have_no_codebook_loss():
    assert quantizer()(torch.randn(4, 5, 3)).codebook_loss == 0
    assert not list(quantizer().parameters())


def test_k_means_finds_clusters_that_are_far_apart():
    centres = 10 * torch.eye(4)
    x = centres[torch.arange(80) % 4].view(4, 20, 4) + 0.01 * torch.randn(4, 20, 4)
    apart = 0
    for seed in range(20):
        found = []
        for start in ("samples", "kmeans"):
            module = quantizer(codes=8, code_channels=4, codebook_start=start)
            torch.manual_seed(seed)
            found.append(module(x).commitment)
        apart += bool(found[1] < found[0])
        assert found[1] <= found[0] + 1e-6
    assert apart > 15


def test_codes_of_k_means_are_the_means_of_their_inputs():
    module = quantizer(codebook_start="kmeans")
    x = torch.randn(1, 12, 3)
    codes = module(x).codes[0]
    for k in codes.unique():
        torch.testing.assert_close(module.codebook[k], x[0, codes == k].mean(dim=0))


def test_jitter_takes_the_frame_before_as_often_as_asked_and_none_after():
    torch.manual_seed(0)
    frames = torch.arange(2000.0).expand(4, 2000)[..., None]
    step = (frames - jittered(frames, 0.3))[..., 0]
    assert set(step.unique().tolist()) == {0.0, 1.0}
    assert step[:, 0].eq(0).all()
    assert abs(step[:, 1:].mean() - 0.3) < 0.02
    assert torch.equal(jittered(frames, 0.0), frames)


def test_jitter_moves_vectors_in_training_alone_and_never_the_codes():
    module = quantizer(time_jitter=1.0)
    x = torch.randn(4, 5, 3)
    quantized = module(x)
    plain = module.codebook[quantized.codes]
    assert torch.equal(quantized.vectors, plain[:, [0, 0, 1, 2, 3]])
    module.eval()
    assert torch.equal(module(x).vectors, module.codebook[module(x).codes])


def test_groups_must_divide_the_channels():
    with pytest.raises(ValidationError, match="groups 4 must divide code_channels 6"):
        QuantizerConfig(code_channels=6, groups=4)
