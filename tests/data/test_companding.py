"""Mu-law: the formula, and what it costs to be one of 256 classes."""

import math

import torch

from ssl_tt.data.companding import compress, expand, from_classes, to_classes


def test_mu_law_is_the_formula_of_g711():
    samples = torch.tensor([-1, -0.5, -1e-3, 0, 1e-3, 0.25, 1.0], dtype=torch.float64)
    expected = [math.copysign(math.log(1 + 255 * abs(x)) / math.log(256), x) for x in samples.tolist()]
    torch.testing.assert_close(compress(samples), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(expand(compress(samples)), samples)
    assert torch.equal(to_classes(torch.tensor([-2.0, 2.0])), torch.tensor([0, 255]))


def test_every_class_comes_back_and_no_sample_moves_by_more_than_half_a_class():
    classes = torch.arange(256)
    assert torch.equal(to_classes(from_classes(classes)), classes)
    samples = torch.linspace(-1, 1, 10_001, dtype=torch.float64)
    back = from_classes(to_classes(samples).double())
    assert (compress(back) - compress(samples)).abs().max() <= 1 / 255 + 1e-9
    assert (back - samples).abs().max() < 0.022  # half of the widest class, ln(256) / 255 of full scale
