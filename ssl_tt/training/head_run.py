"""One head on one encoder, and what it scores on the validation conversations.

RUN/scores.json    task -> metric -> value, low, high; the other files are those of `finetune`
"""

import json
from pathlib import Path

import torch
from accelerate import PartialState

from ssl_tt import recipe as recipes
from ssl_tt import timebase
from ssl_tt.data.windows import Windows
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError
from ssl_tt.training import checkpoint, corpora, head_answers, probe, processes
from ssl_tt.training.config import FinetuneRecipe, PretrainRecipe, ProbeConfig
from ssl_tt.training.feature_windows import FeatureCache
from ssl_tt.training.finetune import split_dialogues, train_head
from ssl_tt.training.pretrain import take_statistics, write_json
from ssl_tt.turns import metrics
from ssl_tt.turns.metrics import Estimate

Scores = dict[str, dict[str, Estimate]]


def finetune(recipe: FinetuneRecipe, out: Path, *, quiet: bool = False, workdir: Path = corpora.WORKDIR) -> Scores:
    """Train the recipe's head into the run directory `out`, or go on there, and score it on validation.

    The encoder of `recipe.run` comes with its settings; without a run it is untrained. Thresholds are chosen on the
    training dialogues that are held out. Of several processes the main one scores, and the others give back nothing.
    InputError for a run that is not there or that has heard a speaker whom it is scored on, and for an encoder that is
    not the run's; else as `train_head`.
    """
    processes.join(recipe.training)
    recipe = with_run(recipe)
    with PartialState().main_process_first():  # simulates what is not there yet
        splits = corpora.conversations(recipe, workdir)[1]
    for split in ("train", "validation"):
        if not splits[split]:
            raise InputError(f"data: no annotated conversation for {split}; add some, or raise data.{split}_share")
    encoder = _encoder(recipe, splits)
    config = ProbeConfig(evaluate_on="validation")
    _, held_out = split_dialogues(splits["train"], recipe.training.held_out_share, recipe.data.split_seed)
    sets = [
        probe.Asked([probe.ask(conversation, encoder.frame_rate_hz, config) for conversation in part])
        for part in (held_out, splits["validation"])
    ]
    head_answers.check_held_out(recipe.training.target, sets[0])
    cache = FeatureCache(out / "features", encoder)
    task = train_head(recipe, encoder, splits["train"], out, cache, quiet=quiet)
    if not processes.is_main():
        return {}
    reader = head_answers.logits_reader(task, cache)
    kept, asked = ((probe.read(reader, each)["logits"], each) for each in sets)
    answers = head_answers.answer(task, *asked, kept, config)
    scores = probe.score(answers, asked[1], metrics.draws(len(asked[1].questions), config.bootstrap))
    found = {
        name: {metric: metrics.estimate(values, config.confidence) for metric, values in each.items()}
        for name, each in scores.values.items()
    }
    as_json = {name: {metric: each._asdict() for metric, each in by.items()} for name, by in found.items()}
    write_json(out / "scores.json", json.loads(json.dumps(as_json)))
    cache.remove()
    return found


def with_run(recipe: FinetuneRecipe) -> FinetuneRecipe:
    """The recipe with the encoder of its run, and with what that run has heard as `data.pretrain`."""
    if recipe.run is None:
        return recipe
    run = Path(recipe.run)
    if not (run / "recipe.toml").is_file() or not (run / "cost.json").is_file():
        raise InputError(f"run {run}: expected the directory of a finished run, as `ssl-tt pretrain` leaves it")
    trained = recipes.load(run / "recipe.toml", PretrainRecipe)
    if "encoder" in recipe.model_fields_set and recipe.encoder != trained.encoder:
        raise InputError(f"run {run}: its encoder is another than the recipe's: leave `encoder` out, it is the run's")
    return recipe.model_copy(
        update={
            "encoder": trained.encoder,
            "simulate": {**trained.simulate, **recipe.simulate},
            "data": recipe.data.model_copy(update={"pretrain": trained.data.pretrain, "probe": recipe.data.probed}),
        }
    )


def _encoder(recipe: FinetuneRecipe, splits: corpora.Splits) -> Encoder:
    """The pretrained encoder, or one with new weights and the statistics of the training conversations."""
    if recipe.run is not None:
        return checkpoint.load_objective(recipe.run).encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        encoder = Encoder(recipe.encoder)
    window_seconds = recipe.training.window_seconds or recipe.data.window_seconds
    rate, hop = encoder.sample_rate_hz, encoder.hop_samples
    length = timebase.samples(window_seconds, rate) // hop * hop
    take_statistics(encoder, Windows(splits["train"], length, rate, encoder.frame_rate_hz, recipe.seed))
    return encoder.eval()
