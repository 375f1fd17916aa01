"""Time jitter: a decoder that cannot rely on any one frame's code makes codes that last."""

import torch
from torch import Tensor


def jittered(vectors: Tensor, probability: float) -> Tensor:
    """Each frame, with this probability, replaced by the one before it: [B, T, C] -> [B, T, C].

    After Chorowski et al. 2019 (arXiv 1901.08810), whose frames are replaced by either neighbour. Here
    it is the left one alone, so that a decoder that is trained causally never sees a frame's future. The first frame
    stays; draws come from torch's generator.
    """
    frame = torch.arange(vectors.shape[1], device=vectors.device)
    replaced = torch.rand(vectors.shape[:2], device=vectors.device) < probability
    source = (frame - replaced.long()).clamp(min=0)
    return vectors.gather(1, source[:, :, None].expand_as(vectors))
