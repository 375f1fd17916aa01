"""Recipes: TOML files read into strict pydantic models that stand beside what they configure."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of every group of recipe fields: unknown keys refused, values never coerced, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
