"""Objectives by the `kind` of their settings; free of torch until one is built."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl_tt.encoder.encoder import Encoder
    from ssl_tt.objectives.config import ObjectiveConfig
    from ssl_tt.objectives.objective import Objective

OBJECTIVES = {
    "apc": "ssl_tt.objectives.apc:APC",
    "cpc": "ssl_tt.objectives.cpc:CPC",
    "cpc2": "ssl_tt.objectives.cpc2:CPC2",
    "joint": "ssl_tt.objectives.joint:Joint",
    "vae": "ssl_tt.objectives.vae:VAE",
    "vqvae": "ssl_tt.objectives.vqvae:VQVAE",
    "vqvae2": "ssl_tt.objectives.vqvae2:VQVAE2",
}


def build(config: "ObjectiveConfig", encoder: "Encoder") -> "Objective":
    """The objective of a recipe around its encoder; new weights come from torch's generator."""
    module, name = OBJECTIVES[config.kind].split(":")
    return getattr(import_module(module), name)(config, encoder)
