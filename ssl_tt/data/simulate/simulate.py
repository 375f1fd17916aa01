"""Simulated two-channel conversations with a manifest: same settings, same bytes."""

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ssl_tt.data.atomic import atomically
from ssl_tt.data.audio import sha256, write_wav
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import write_manifest
from ssl_tt.data.phones import PHONES, Phone, write_phones
from ssl_tt.data.simulate import cues, folder, render, respoken, synthetic
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.data.simulate.render import Scene
from ssl_tt.errors import InputError, RunError

VERSION = 1
"""Raised with every change of what the simulator makes, so that no stale corpus is taken for a new one."""

MANIFEST = "manifest.jsonl"
_DESCRIPTION = "simulation.json"
_TRUTH = "truth.jsonl"

LABELS = {"synthetic": "cue", "folder": "proxy", "respoken": "annotated"}
"""What a shift and a hold rest on: drawn together with their cues; guessed from the length of a reader's pauses; or the
real turns of an annotated dialogue."""

# First key of the draws of the room, apart from those of the dialogue.
_ROOM = 100


def simulate(config: SimulateConfig, out: Path, workers: int | None = None, quiet: bool = False) -> Path:
    """Simulate a corpus into the folder `out` and return its manifest; if it is there already, nothing is done.

    Writes `manifest.jsonl`, `audio/*.wav` (16 bit, two channels), `simulation.json` (the settings, what the labels rest
    on, the best possible balanced accuracy where it is known); for synthetic voices also `truth.jsonl` (a line for each
    mutual silence: label, cues, posterior), for re-spoken dialogues `phones.jsonl` (see `ssl_tt.data.phones`). The
    bytes depend on the settings alone, not on `workers`, the number of processes (all cores if not given). The folder
    appears whole or not at all.

    InputError if `out` holds anything else, if a folder that the settings name is missing or empty, or if an extra is
    not installed; RunError if it cannot be written.
    """
    description = _description(config)
    if _is_there(out, description):
        return out / MANIFEST
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial_out = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        partial_out.chmod(0o755)
        try:
            _write(config, description, partial_out, workers, quiet)
            partial_out.replace(out)
        finally:
            shutil.rmtree(partial_out, ignore_errors=True)
    except OSError as error:
        # Another process may have been faster; a folder cannot take the place of one that is not empty.
        if not _is_there(out, description):
            raise RunError(
                f"{out}: cannot be written ({error.strerror}): free some space or name another folder"
            ) from error
    return out / MANIFEST


def _description(config: SimulateConfig) -> dict[str, Any]:
    ceiling = cues.ceiling(config.cue_strength) if config.voices == "synthetic" else None
    return {
        "version": VERSION,
        "labels": LABELS[config.voices],
        "bayes_balanced_accuracy": ceiling,
        "config": config.model_dump(mode="json"),
    }


def _is_there(out: Path, description: Mapping[str, Any]) -> bool:
    """Whether the folder holds this very corpus; InputError if it holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = json.loads((out / _DESCRIPTION).read_text())
    except (OSError, ValueError):
        raise InputError(
            f"{out}: holds something else than a simulated corpus, expected a new or empty folder"
        ) from None
    if found != description:
        raise InputError(f"{out}: holds a corpus simulated with other settings ({_DESCRIPTION}): name a new folder")
    return True


def _write(config: SimulateConfig, description: Mapping[str, Any], out: Path, workers: int | None, quiet: bool) -> None:
    (out / "audio").mkdir()
    conversations: list[Conversation] = []
    truths: list[Mapping[str, Any]] = []
    phones: dict[str, Sequence[Sequence[Phone]]] = {}
    # espeak-ng keeps a state, see there; the others may use a process for as long as they like.
    with _pool(workers, max_tasks_per_child=1 if config.voices == "respoken" else None) as pool:
        scenes = _scenes(config, pool)
        jobs = pool.map(partial(_render, config, out / "audio"), range(len(scenes)), scenes)
        for conversation, truth, sounds in tqdm(jobs, "simulate", len(scenes), unit="conversation", disable=quiet):
            conversations.append(conversation)
            truths += truth
            if sounds is not None:
                phones[conversation.id] = sounds
    write_manifest(out / MANIFEST, conversations)
    if config.voices == "synthetic":
        with atomically(out / _TRUTH) as file:
            file.writelines(json.dumps(line).encode() + b"\n" for line in truths)
    if phones:
        write_phones(out / PHONES, conversations, phones)
    with atomically(out / _DESCRIPTION) as file:
        file.write(json.dumps(description, indent=2).encode() + b"\n")


@contextmanager
def _pool(workers: int | None, max_tasks_per_child: int | None) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes with one thread each, since there is one for each core."""
    variable = "OMP_NUM_THREADS"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        # Forked from a server that has imported this module and done nothing else, a process starts at once, and fresh.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=max_tasks_per_child) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def _scenes(config: SimulateConfig, pool: ProcessPoolExecutor) -> list[Callable[[], Scene]]:
    match config.voices:
        case "synthetic":
            return synthetic.scenes(config)
        case "folder":
            return folder.scenes(config, pool)
        case "respoken":
            return respoken.scenes(config)


def _render(
    config: SimulateConfig, audio: Path, number: int, scene_of: Callable[[], Scene]
) -> tuple[Conversation, list[Mapping[str, Any]], Sequence[Sequence[Phone]] | None]:
    """Make one conversation; runs in a process of the pool."""
    scene = scene_of()
    rng = np.random.default_rng((config.seed, _ROOM, number))
    samples = render.render(
        scene.clips, scene.n_samples, config.sample_rate_hz, config.noise_snr_db, config.cross_talk_db, rng
    )
    path = audio / f"{scene.id}.wav"
    write_wav(path, samples, config.sample_rate_hz)
    conversation = Conversation(
        id=scene.id,
        audio=path,
        sample_rate_hz=config.sample_rate_hz,
        channels=2,
        duration_seconds=scene.n_samples / config.sample_rate_hz,
        speakers=scene.speakers,
        segments=render.segments(scene.clips, config.sample_rate_hz),
        sha256=sha256(path),
        split=scene.split,
        provenance={"simulator": config.voices, "labels": LABELS[config.voices], **scene.provenance},
    )
    return conversation, list(scene.truth), scene.phones
