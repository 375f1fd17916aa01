"""From the data section of a recipe to the conversations of each split, simulating what is not there yet."""

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from ssl_tt.data.cache import Cache
from ssl_tt.data.conversation import Conversation, Split
from ssl_tt.data.index import Conversations, Index, index
from ssl_tt.data.manifest import SPLITS
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.data.storage import Remote, located
from ssl_tt.encoder.receptive_field import check_conversations, receptive_field
from ssl_tt.errors import InputError
from ssl_tt.recipe import dump
from ssl_tt.training.config import Experiment, PretrainRecipe
from ssl_tt.training.labelled import labelled

Splits = Mapping[Split, Sequence[Conversation]]

WORKDIR = Path("checkpoints")
"""Where simulated corpora and run directories go unless told otherwise."""


def conversations(experiment: Experiment, workdir: Path = WORKDIR) -> tuple[Splits, Splits]:
    """Conversations for pretraining and for probing, by split; corpora are simulated on first use.

    Each corpus is split by itself, with one seed, so a corpus in both lists is split alike. Of the training
    conversations for probing it is `data.labelled_share` that is given. InputError if a corpus is unknown, if one for
    pretraining has no audio, one for probing no speech segments, if a frame of the encoder sees more than any
    conversation holds, if a speaker whom a probe is tested on is heard in training, or if that share is too small.
    """
    check_lengths(experiment, workdir)
    corpora = {
        source: _split(indexed(experiment, source, workdir), experiment)
        for source in dict.fromkeys((*experiment.data.pretrain, *experiment.data.probed))
    }
    pretrain = _joined([corpora[source] for source in experiment.data.pretrain])
    probe = _joined([corpora[source] for source in experiment.data.probed])
    for of_split in pretrain.values():
        for number in np.flatnonzero(of_split.columns.sample_rate_hz == 0):
            raise InputError(
                f"data.pretrain: conversation {of_split[int(number)].id!r} is annotation only, expected audio: "
                "prepare its corpus with the recordings, or leave it out"
            )
    if (met := probe["test"].heard_in(pretrain["train"] + pretrain["validation"])) is not None:
        tested, heard, speaker = met
        raise InputError(
            f"data: speaker {speaker!r} of the test conversation {tested.id!r} is also heard in "
            f"training, in {heard.id!r}: name the splits in the manifests"
        )
    if isinstance(experiment, PretrainRecipe):
        return pretrain, probe
    for of_split in probe.values():
        for number in np.flatnonzero(~of_split.columns.labelled):
            raise InputError(
                f"data.probe: conversation {of_split[int(number)].id!r} has no speech segments, expected some: "
                "prepare its corpus with activity detection"
            )
    share, seed = experiment.data.labelled_share, experiment.data.split_seed
    probed: dict[Split, Sequence[Conversation]] = {split: list(probe[split]) for split in SPLITS}
    probed["train"] = labelled(probed["train"], share, seed, _frame_seconds(experiment))
    return pretrain, probed


def indexed(experiment: Experiment, source: str, workdir: Path = WORKDIR) -> Index:
    """The index of a corpus's manifest, in the recipe's cache folder."""
    return index(manifest(experiment, source, workdir), cache(experiment))


def cache(experiment: Experiment) -> Cache:
    """Where the recipe keeps indices and what it fetches."""
    data = experiment.data
    return Cache(Path(_expanded(data.cache_folder, "data.cache_folder")), round(data.cache_gigabytes * 1e9))


def manifest(experiment: Experiment, source: str, workdir: Path = WORKDIR) -> Path | Remote:
    """Manifest of a corpus: the file of that path or URL, or what `simulate` makes under that name."""
    if source in experiment.simulate:
        return simulated(source, experiment.simulate[source], workdir)
    path = located(_expanded(source, "data"), cache(experiment))
    if not path.is_file():
        near = get_close_matches(source, experiment.simulate, n=1)
        hint = f"; did you mean {near[0]}?" if near else ": check the path"
        raise InputError(f"data: {source}: neither a manifest that is there nor a corpus under [simulate]{hint}")
    return path


def _expanded(text: str, field: str) -> str:
    expanded = os.path.expanduser(os.path.expandvars(text))
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise InputError(f"{field}: {text}: the environment variable {unset[1]} is not set; export it")
    return expanded


def simulated(name: str, config: SimulateConfig, workdir: Path = WORKDIR) -> Path:
    """Manifest of a simulated corpus, made on first use in a folder named for its settings."""
    digest = hashlib.sha256(dump(config).encode()).hexdigest()
    folder = workdir / "corpora" / f"{name}-{digest[:8]}"
    path = folder / "manifest.jsonl"  # written last: where it is, the corpus is whole
    if not path.exists():
        from ssl_tt.data.simulate.simulate import simulate

        return simulate(config, folder)
    return path


def planned_seconds(experiment: Experiment, source: str) -> float:
    """Length of a corpus's conversations, seconds, where its settings tell it before it is made; infinite elsewhere."""
    config = experiment.simulate.get(source)
    return config.conversation_seconds if config is not None and config.voices == "synthetic" else math.inf


def check_lengths(experiment: Experiment, workdir: Path = WORKDIR) -> None:
    """Raise InputError if a frame of the encoder sees more than any conversation for pretraining or probing holds.

    Hours of synthetic audio are not made for that.
    """
    field = receptive_field(experiment.encoder)

    def longest_seconds(source: str) -> float:
        planned = planned_seconds(experiment, source)
        if math.isfinite(planned):
            return planned
        return float(indexed(experiment, source, workdir)["duration_seconds"].max())

    check_conversations(field, max(map(longest_seconds, experiment.data.pretrain)), "data.pretrain")
    if not isinstance(experiment, PretrainRecipe):
        check_conversations(field, max(map(longest_seconds, experiment.data.probed)), "data.probe")


def _split(of: Index, experiment: Experiment) -> dict[Split, Conversations]:
    data = experiment.data
    rows = of.split(data.validation_share, data.test_share, data.split_seed)
    return {split: Conversations([(of, rows[split])]) for split in SPLITS}


def _joined(corpora: Sequence[Mapping[Split, Conversations]]) -> dict[Split, Conversations]:
    return {split: sum((corpus[split] for corpus in corpora), Conversations()) for split in SPLITS}


def _frame_seconds(experiment: Experiment) -> float:
    frontend = experiment.encoder.frontend
    return frontend.hop_samples * experiment.encoder.stride / frontend.sample_rate_hz
