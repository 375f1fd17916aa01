"""From the data section of a recipe to the conversations of each split, simulating what is not there yet."""

import hashlib
import math
import os
import re
from difflib import get_close_matches
from pathlib import Path

from ssl_tt.data.conversation import Conversation, Split
from ssl_tt.data.manifest import read_manifest, split_conversations
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.encoder.receptive_field import check_conversations, receptive_field
from ssl_tt.errors import InputError
from ssl_tt.recipe import dump
from ssl_tt.training.config import Experiment, PretrainRecipe
from ssl_tt.training.labelled import labelled

Splits = dict[Split, list[Conversation]]

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
        source: _split(manifest(experiment, source, workdir), experiment)
        for source in dict.fromkeys((*experiment.data.pretrain, *experiment.data.probed))
    }
    pretrain = _joined([corpora[source] for source in experiment.data.pretrain])
    probe = _joined([corpora[source] for source in experiment.data.probed])
    for of_split in pretrain.values():
        for conversation in of_split:
            if conversation.audio is None:
                raise InputError(
                    f"data.pretrain: conversation {conversation.id!r} is annotation only, expected audio: "
                    "prepare its corpus with the recordings, or leave it out"
                )
    for of_split in probe.values():
        for conversation in of_split:
            if not isinstance(experiment, PretrainRecipe) and conversation.segments is None:
                raise InputError(
                    f"data.probe: conversation {conversation.id!r} has no speech segments, expected some: "
                    "prepare its corpus with activity detection"
                )
    heard = {speaker: c.id for c in (*pretrain["train"], *pretrain["validation"]) for speaker in c.speakers}
    for conversation in probe["test"]:
        for speaker in conversation.speakers:
            if speaker in heard:
                raise InputError(
                    f"data: speaker {speaker!r} of the test conversation {conversation.id!r} is also heard in "
                    f"training, in {heard[speaker]!r}: name the splits in the manifests"
                )
    if not isinstance(experiment, PretrainRecipe):
        share, seed = experiment.data.labelled_share, experiment.data.split_seed
        probe["train"] = labelled(probe["train"], share, seed, _frame_seconds(experiment))
    return pretrain, probe


def manifest(experiment: Experiment, source: str, workdir: Path = WORKDIR) -> Path:
    """Manifest of a corpus: the file of that path, or what `simulate` makes under that name."""
    if source in experiment.simulate:
        return simulated(source, experiment.simulate[source], workdir)
    expanded = os.path.expanduser(os.path.expandvars(source))
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise InputError(f"data: {source}: the environment variable {unset[1]} is not set; export it")
    path = Path(expanded)
    if not path.is_file():
        near = get_close_matches(source, experiment.simulate, n=1)
        hint = f"; did you mean {near[0]}?" if near else ": check the path"
        raise InputError(f"data: {source}: neither a manifest that is there nor a corpus under [simulate]{hint}")
    return path


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
        return max(
            conversation.duration_seconds for conversation in read_manifest(manifest(experiment, source, workdir))
        )

    check_conversations(field, max(map(longest_seconds, experiment.data.pretrain)), "data.pretrain")
    if not isinstance(experiment, PretrainRecipe):
        check_conversations(field, max(map(longest_seconds, experiment.data.probed)), "data.probe")


def _split(path: Path, experiment: Experiment) -> Splits:
    data = experiment.data
    return split_conversations(read_manifest(path), data.validation_share, data.test_share, data.split_seed)


def _joined(corpora: list[Splits]) -> Splits:
    splits: tuple[Split, ...] = ("train", "validation", "test")
    return {split: [c for corpus in corpora for c in corpus.get(split, [])] for split in splits}


def _frame_seconds(experiment: Experiment) -> float:
    frontend = experiment.encoder.frontend
    return frontend.hop_samples * experiment.encoder.stride / frontend.sample_rate_hz
