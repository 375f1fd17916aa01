import copy

import pytest
import torch

from ssl_tt.objectives.quantizer import Quantizer


def quantizer(codes: int = 6, channels: int = 3, decay: float = 0.9, revive_below: float = 0.0) -> Quantizer:
    torch.manual_seed(0)
    return Quantizer(codes, channels, decay, revive_below)


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
        module = quantizer(codes=8, decay=0.5, revive_below=revive_below)
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
        module._start(x.flatten(0, 1)[:6])
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
        nearest = module.nearest(x)
    assert quantized.vectors.dtype == quantized.commitment.dtype == torch.float32
    assert torch.equal(nearest, quantized.codes)
    module.update()
    assert all(value.dtype in (torch.float32, torch.bool) for value in module.state_dict().values())


def test_perplexity_counts_codes_used_alike():
    module = quantizer(codes=4, channels=1).eval()
    module.codebook.copy_(torch.tensor([[0.0], [1.0], [2.0], [3.0]]))
    for used, vectors in ((1, [2.0] * 12), (2, [0.0, 3.0] * 6), (4, [0.0, 1.0, 2.0, 3.0] * 3)):
        quantized = module(torch.tensor(vectors).view(1, 12, 1))
        torch.testing.assert_close(quantized.perplexity, torch.tensor(float(used)))
        assert quantized.used_codes == used
