"""The quantizer of moving averages beside that of vector-quantize-pytorch."""

import pytest
import torch
from vector_quantize_pytorch import VectorQuantize

from ssl_tt.objectives.config import QuantizerConfig
from ssl_tt.objectives.quantizer import Quantizer


@pytest.mark.parametrize("groups", [1, 2])
def test_fifty_steps_equal_those_of_vector_quantize_pytorch(groups):
    torch.manual_seed(0)
    codes, channels = 16, 4
    ours = Quantizer(
        QuantizerConfig(codes=codes, code_channels=groups * channels, groups=groups, ema_decay=0.9, revive_below=0.0)
    )
    theirs = [
        VectorQuantize(channels, codes, decay=0.9, eps=1e-12, commitment_weight=0.25, rotation_trick=False)
        for _ in range(groups)
    ]
    drift = torch.randn(groups * channels)
    for step in range(50):
        x = torch.randn(4, 30, groups * channels) + 0.02 * step * drift  # inputs that wander off, as an encoder's do
        found = ours(x)
        if step == 0:
            for twin, codebook in zip(theirs, ours.codebook.chunk(groups), strict=True):
                twin._codebook.embed.data.copy_(codebook)
                twin._codebook.embed_avg.data.copy_(codebook)
                twin._codebook.cluster_size.data.fill_(1.0)
        expected = [twin(part) for twin, part in zip(theirs, x.chunk(groups, dim=2), strict=True)]
        vectors, indices, losses = zip(*expected, strict=True)
        assert torch.equal(found.codes, indices[0] if groups == 1 else torch.stack(indices, dim=2))
        torch.testing.assert_close(found.vectors, torch.cat(vectors, dim=2), rtol=0, atol=1e-5)
        torch.testing.assert_close(0.25 * found.commitment, sum(losses).squeeze() / groups, rtol=0, atol=1e-5)
        ours.update()
        embedded = torch.cat([twin._codebook.embed[0] for twin in theirs])
        torch.testing.assert_close(ours.codebook, embedded, rtol=0, atol=1e-5)
