"""Distributions of the next integer of a sequence: how one is heard, how likely it is, how it is drawn.

A distribution embeds the integers it is given as features, [...] -> [..., C]. A network makes `parameters` numbers of
them, [..., parameters], which say how likely each next integer is. Drawing takes its noise as an argument, `draws`
uniform numbers for each integer, so that the same noise gives the same integers whoever asks.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.data.companding import compress

# The narrowest logistic, as a logarithm: four of 65,536 levels. Digital silence would ask for ever narrower ones.
LEAST_LOG_SCALE = -9.0


class Distribution(nn.Module):
    """What `Categorical` and `LogisticMixture` have in common."""

    parameters_each: int
    """Numbers that tell the distribution of one integer."""
    draws: int
    """Uniform numbers that a draw takes."""

    def initial(self) -> Tensor:
        """The numbers [parameters_each] that a network starts from."""
        raise NotImplementedError

    def nats(self, parameters: Tensor, values: Tensor) -> Tensor:
        """-log p of integers [...] under parameters [..., parameters_each]: [...], fp32."""
        raise NotImplementedError

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Integers [...] drawn by noise [..., draws], uniform in [0, 1)."""
        raise NotImplementedError


class Categorical(Distribution):
    """A softmax over classes; it starts uniform: log(classes) nats."""

    draws = 1

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.parameters_each = classes
        self.embedding = nn.Embedding(classes, channels)

    def forward(self, values: Tensor) -> Tensor:
        return self.embedding(values)

    def initial(self) -> Tensor:
        return torch.zeros(self.parameters_each)

    def nats(self, parameters: Tensor, values: Tensor) -> Tensor:
        return F.cross_entropy(parameters.float().flatten(0, -2), values.flatten(), reduction="none").view(values.shape)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return _inverse(parameters, noise[..., :1])


class LogisticMixture(Distribution):
    """A mixture of logistic distributions over equally spaced levels from -1 to 1 (Salimans et al. 2017, PixelCNN++,
    arXiv 1701.05517, section 2.1).

    A level has the probability of half a step to either side of it, the lowest and the highest one all beyond them too,
    so that the probabilities of all levels add up to one. The means start spread over the levels.
    """

    draws = 2

    def __init__(self, levels: int, mixtures: int, channels: int) -> None:
        super().__init__()
        self.levels = levels
        self.mixtures = mixtures
        self.parameters_each = 3 * mixtures
        self.embedding = nn.Linear(1, channels)

    def forward(self, values: Tensor) -> Tensor:
        # By ear: of the values themselves, quiet speech would hardly reach the network.
        return self.embedding(compress(self._position(values, self.embedding.weight.dtype)).unsqueeze(-1))

    def initial(self) -> Tensor:
        places = (2 * torch.arange(self.mixtures) + 1) / self.mixtures - 1
        log_scales = torch.full_like(places, -math.log(2 * self.mixtures))
        return torch.cat([torch.zeros_like(places), places, log_scales])

    def nats(self, parameters: Tensor, values: Tensor) -> Tensor:
        with torch.autocast(parameters.device.type, enabled=False):
            logits, means, log_scales = self._mixture(parameters)
            half_step = 1 / (self.levels - 1)
            distance = self._position(values, means.dtype).unsqueeze(-1) - means
            above = (distance + half_step) * torch.exp(-log_scales)
            below = (distance - half_step) * torch.exp(-log_scales)
            # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): no difference of nearly equal numbers.
            width = torch.log(-torch.expm1(-2 * half_step * torch.exp(-log_scales)))
            inside = F.logsigmoid(above) + F.logsigmoid(-below) + width
            lowest, highest = (values == 0).unsqueeze(-1), (values == self.levels - 1).unsqueeze(-1)
            each = torch.where(lowest, F.logsigmoid(above), torch.where(highest, F.logsigmoid(-below), inside))
            return -torch.logsumexp(F.log_softmax(logits, dim=-1) + each, dim=-1)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        logits, means, log_scales = self._mixture(parameters)
        chosen = _inverse(logits, noise[..., :1]).unsqueeze(-1)
        uniform = noise[..., 1].clamp(1e-5, 1 - 1e-5)
        scale = log_scales.gather(-1, chosen).squeeze(-1).exp()
        position = means.gather(-1, chosen).squeeze(-1) + scale * torch.logit(uniform)
        return ((position.clamp(-1, 1) + 1) / 2 * (self.levels - 1)).round().long()

    def _mixture(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parameters = parameters if parameters.dtype == torch.float64 else parameters.float()
        logits, means, log_scales = parameters.chunk(3, dim=-1)
        return logits, means, log_scales.clamp(min=LEAST_LOG_SCALE)

    def _position(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        return 2 * values.to(dtype) / (self.levels - 1) - 1


def _inverse(logits: Tensor, noise: Tensor) -> Tensor:
    """Classes [...] where the cumulative softmax of logits [..., K] passes the noise [..., 1]."""
    cumulative = logits.float().softmax(dim=-1).cumsum(dim=-1)
    return torch.searchsorted(cumulative, noise.contiguous(), right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
