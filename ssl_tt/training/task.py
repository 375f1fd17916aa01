"""A model of turn-taking with its target: what the training loop trains where a head is trained."""

from typing import Any

from einops import rearrange
from torch import Tensor, nn

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives.loss import Loss
from ssl_tt.training.config import HeadTraining
from ssl_tt.training.layers import Layer, encoder_layers
from ssl_tt.training.model import TurnTaking, TurnTakingState
from ssl_tt.turns.build_target import build_target
from ssl_tt.turns.heads import HeadState


class Task(nn.Module):
    """Loss of a batch of windows; of mode `frozen` the windows hold features [B, 2, T, C] in the place of samples."""

    def __init__(self, config: HeadTraining, encoder: Encoder) -> None:
        super().__init__()
        self.config = config
        self.target = build_target(config.target, encoder.frame_rate_hz)
        self.model = TurnTaking(encoder, config.head, self.target.outputs)
        encoder.requires_grad_(config.mode != "frozen")

    def forward(self, batch: Batch) -> Loss:
        assert batch.activity is not None
        logits, _ = self.logits(batch.samples, self._start(batch), batch.activity)
        return Loss(self.target.loss(logits, batch.activity), {})

    def logits(self, window: Tensor, state: Any = None, activity: Tensor | None = None) -> tuple[Tensor, Any]:
        """Logits [B, 2, T, K] and state, of samples [B, 2, N] or, of mode `frozen`, features [B, 2, T, C].

        activity: [B, T, 2], which is looked at if the head reads its history.
        """
        model = self.model.head if self.config.mode == "frozen" else self.model
        return model(window, state, activity if self.model.reads_activity else None)

    def _start(self, batch: Batch) -> Any:
        """The state before windows of which the voice activity before them is known."""
        if batch.past is None or not self.model.reads_activity:
            return None
        head = HeadState(activity=rearrange(batch.past, "b t s -> (b s) t"))
        return head if self.config.mode == "frozen" else TurnTakingState(None, head)

    def layers(self) -> list[Layer]:
        """What learns, and how fast: the head, then the encoder from its output down."""
        config, head = self.config, Layer(list(self.model.head.parameters()))
        encoder = encoder_layers(self.model.encoder)
        match config.mode:
            case "frozen":
                return [head]
            case "scratch":
                return [head, *map(Layer, encoder)]
            case "finetune":
                scale, decay = config.encoder_learning_rate_scale, config.layer_decay
                first, every = config.head_steps, config.unfreeze_every_steps
                return [
                    head,
                    *(Layer(layer, scale * decay**depth, first + depth * every) for depth, layer in enumerate(encoder)),
                ]

    def after_optimizer_step(self) -> None:
        """As of an objective; here nothing follows."""
