"""The command line: `ssl-tt VERB`, every verb a dataclass whose fields are its arguments.

Verbs and their arguments are tyro's; the fields of a recipe, in the same help, go to `recipe.load`, which knows what
the recipe file holds already. Every import is made where it is used, so that help answers at once.
"""

import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field, fields, make_dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Optional

import tyro
from tyro.conf import Positional

from ssl_tt.errors import InputError, RunError, StoppedEarly

if TYPE_CHECKING:
    from ssl_tt.training.compare import Comparison
    from ssl_tt.training.config import Experiment

# Spelled so, tyro checks a default without importing typeguard, a tenth of the time that help may take.
MaybePath = Optional[Path]  # noqa: UP045
MaybeText = Optional[str]  # noqa: UP045
MaybeInteger = Optional[int]  # noqa: UP045
MaybeNumber = Optional[float]  # noqa: UP045


@dataclass
class Verb:
    """What every verb is: arguments as fields, and `run`."""

    settings: ClassVar[str | None] = None
    """Where the model of the recipe is whose fields are options of the verb."""

    def run(self, overrides: Sequence[str]) -> None:
        """Do it; `overrides` are the options that are fields of the recipe."""
        raise NotImplementedError


@dataclass
class Demo(Verb):
    """The main job end to end on simulated conversations: simulate, pretrain both ways, probe, compare, report.

    Example: ssl-tt demo
    """

    settings = "ssl_tt.training.config:CompareRecipe"

    out: Path = Path("checkpoints/demo")
    """Folder for the runs, report.html and report.json."""

    def run(self, overrides: Sequence[str]) -> None:
        installed = Path(__file__).parent / "recipes" / "demo.toml"
        in_clone = Path(__file__).parent.parent / "recipes" / "demo.toml"
        Compare(installed if installed.exists() else in_clone, self.out).run(overrides)


@dataclass
class Simulate(Verb):
    """Simulate two-channel conversations: audio, manifest.jsonl, and what is known of them. Same settings, same bytes.

    Example: ssl-tt simulate --out corpus --hours 0.5 --cue-strength 0.8 --seed 3
    """

    settings = "ssl_tt.data.simulate.config:SimulateConfig"

    out: Path
    """Folder for the corpus."""
    recipe: MaybePath = None
    """TOML file of these fields, or a recipe with [simulate.NAME]: then every corpus NAME goes to OUT/NAME."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt import recipe
        from ssl_tt.data.simulate.config import SimulateConfig

        if self.recipe is not None and "simulate" in recipe.read_table(self.recipe):
            corpora = _experiment(self.recipe, overrides).simulate
            configs = {self.out / name: config for name, config in corpora.items()}
        else:
            configs = {self.out: recipe.load(self.recipe, SimulateConfig, overrides)}
        from ssl_tt.data.simulate.simulate import simulate

        for out, config in configs.items():
            print(simulate(config, out))


@dataclass
class Prepare(Verb):
    """Make the manifest of a corpus on disk; bad items are left out and listed, and the exit code is then 2.

    Example: ssl-tt prepare primock57 ~/primock57 --out corpora/primock57 --shards
    """

    corpus: Positional[
        Literal[
            "folder",
            "folder-speakers",
            "folder-mono",
            "rttm",
            "manifest",
            "lhotse",
            "switchboard",
            "fisher",
            "callhome",
            "maptask",
            "candor",
            "ami",
            "icsi",
            "harpervalley",
            "primock57",
        ]
    ]
    """Which adapter reads it. Folders of your own: a file with a channel a speaker (folder), a mono file a speaker of a
    conversation (folder-speakers), single speakers (folder-mono); RTTM, CTM, TextGrid, ELAN, CHAT, WebVTT, Audacity
    labels or CSV beside them, or nothing. lhotse needs the extra ssl-tt[lhotse]; `manifest` is
    a folder that was prepared already."""
    root: Positional[Path]
    """Folder of the corpus."""
    out: Path
    """Folder for manifest.jsonl, and for audio where it must be joined or cut."""
    detector: Literal["energy", "silero", "none"] = "energy"
    """What finds speech in conversations without segments; silero needs the extra ssl-tt[silero]."""
    held_out_speakers: MaybeNumber = None
    """Name the splits in the manifest: this share of the speakers for validation and as many for test, leaving out
    conversations between them. For corpora where everybody talks to everybody, such as Switchboard."""
    shards: bool = False
    """Put all audio as FLAC into tar files beside the manifest, to be copied and read from anywhere. A run that was
    killed goes on."""
    shard_gigabytes: float = 1.0
    """Size of a shard before compression, gigabytes; of --shards."""
    processes: MaybeInteger = None
    """Processes that write shards; one a core if not given."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt.data.prepare import prepare, prepare_shards

        detector = None if self.detector == "none" else self.detector
        if self.shards:
            if not 1e-6 <= self.shard_gigabytes <= 1000:
                raise InputError(f"--shard-gigabytes {self.shard_gigabytes:g}, expected more than 0 and at most 1000")
            if self.processes is not None and self.processes < 1:
                raise InputError(f"--processes {self.processes}, expected 1 at least")
            shard_bytes = round(self.shard_gigabytes * 1e9)
            prepared = prepare_shards(
                self.corpus, self.root, self.out, detector, shard_bytes, self.processes, self.held_out_speakers
            )
        else:
            prepared = prepare(self.corpus, self.root, self.out, detector, self.held_out_speakers)
        print(f"{prepared.manifest}: {prepared.n_conversations} conversations")
        if prepared.n_left_out:
            print(f"{prepared.n_left_out} conversations left out, between speakers of different splits")
        _list(prepared.problems, prepared.warnings, f"{prepared.manifest}: without the bad items")


@dataclass
class Check(Verb):
    """Check every conversation of a manifest against its audio and list all that is wrong; exit code 2 if any is.

    Example: ssl-tt check corpora/primock57/manifest.jsonl --clean corpora/primock57/clean.jsonl
    """

    manifest: Positional[str]
    """Manifest to check: a path, or a URL such as s3://bucket/corpus/manifest.jsonl."""
    clean: MaybePath = None
    """Write the good conversations to this manifest."""
    lhotse: MaybePath = None
    """Write the good conversations to this folder as recordings and supervisions of lhotse; needs ssl-tt[lhotse]."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt.data.manifest import check_manifest
        from ssl_tt.data.storage import located

        checked = check_manifest(located(self.manifest), self.clean)
        if self.lhotse is not None:
            from ssl_tt.data.lhotse_manifests import write_lhotse

            write_lhotse(self.lhotse, checked.good)
        print(f"{self.manifest}: {len(checked.good)} good conversations, {len(checked.warnings)} warnings")
        advice = f"{self.clean} holds the good ones" if self.clean else "mend them, or write the good ones with --clean"
        _list(checked.problems, checked.warnings, f"{self.manifest}: {advice}")


@dataclass
class Field(Verb):
    """Show the receptive field of a recipe's encoder: what a frame sees, from samples to frames, and what it misses.

    Example: ssl-tt field recipes/demo.toml --out field.png --encoder.stacks.0.dilations 1 2 4 8
    """

    settings = "ssl_tt.training.config:CompareRecipe"

    recipe: Positional[MaybePath] = None
    """TOML recipe for pretrain or compare; of a study, every variant is shown."""
    out: MaybePath = None
    """Draw it to this file, .png or .svg."""
    post: MaybePath = None
    """Without a recipe: draw all figures of the post to this folder, with index.html, a page that explains them."""

    def run(self, overrides: Sequence[str]) -> None:
        if self.post is not None:
            self._draw_the_post(self.post, overrides)
            return
        if self.recipe is None:
            raise InputError("ssl-tt field: no recipe given; name one, or a folder for the post's figures by --post")
        from ssl_tt.encoder.receptive_field import receptive_field
        from ssl_tt.training.config import StudyRecipe
        from ssl_tt.training.corpora import planned_seconds

        experiment = _experiment(self.recipe, overrides)
        variants: dict[str, Experiment] = {}
        if isinstance(experiment, StudyRecipe):
            variants = {name: experiment.variant(name) for name in experiment.variants}
        for name, each in (variants or {"": experiment}).items():
            found = receptive_field(each.encoder)
            print(f"{name}\n{found.table()}\n" if name else found.table())
            longest_seconds = max(planned_seconds(each, source) for source in each.data.pretrain)
            for warning in found.warnings(each.data.window_seconds, longest_seconds):
                print(f"warning: {f'{name}: ' if name else ''}{warning}", file=sys.stderr)
        if self.out is not None:
            from ssl_tt.report.figures import draw_field, draw_fields

            if variants:
                print(draw_fields({name: each.encoder for name, each in variants.items()}, self.out))
            else:
                print(draw_field(experiment.encoder, self.out))

    def _draw_the_post(self, folder: Path, overrides: Sequence[str]) -> None:
        unread = [str(given) for given in (self.recipe, self.out, *overrides[:1]) if given is not None]
        if unread:
            raise InputError(
                f"ssl-tt field: --post draws encoders of its own and does not read {', '.join(unread)}: leave it out"
            )
        from ssl_tt.report.post import write_post

        print(write_post(folder))


@dataclass
class Pretrain(Verb):
    """Pretrain one encoder with one objective; started again, it goes on from its newest checkpoint.

    SIGTERM, SIGUSR1 or Ctrl-C: a checkpoint is written and the exit code is 3. On several GPUs:
    torchrun --nproc_per_node 8 -m ssl_tt.cli pretrain RECIPE.

    Example: ssl-tt pretrain recipes/cpc.toml --training.steps 2000 --objective.kind vqvae --objective.codes 256
    """

    settings = "ssl_tt.training.config:PretrainRecipe"

    recipe: Positional[Path]
    """TOML recipe of one experiment."""
    out: MaybePath = None
    """Run directory; checkpoints/NAME, with the recipe's name, if not given."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt import recipe
        from ssl_tt.training.config import PretrainRecipe

        settings = recipe.load(self.recipe, PretrainRecipe, overrides)
        from ssl_tt.training import processes  # seconds of importing, after the recipe is known to be right
        from ssl_tt.training.pretrain import pretrain

        run = pretrain(settings, self.out or Path("checkpoints") / settings.name)
        if processes.is_main():
            print(run)


@dataclass
class Finetune(Verb):
    """Train one head of turn-taking on the encoder of a run, frozen or not, or from scratch; score it on validation.

    Started again, it goes on from its newest checkpoint; `ssl_tt.load_turn_taking` gives the model back.

    Example: ssl-tt finetune recipes/finetune.toml --run checkpoints/cpc --training.mode finetune
    """

    settings = "ssl_tt.training.config:FinetuneRecipe"

    recipe: Positional[Path]
    """TOML recipe of one head: data, training and, for a pretrained encoder, run."""
    out: MaybePath = None
    """Run directory of the head; checkpoints/NAME, with the recipe's name, if not given."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt import recipe
        from ssl_tt.training.config import FinetuneRecipe

        settings = recipe.load(self.recipe, FinetuneRecipe, overrides)
        from ssl_tt.report.tables import interval
        from ssl_tt.training import processes
        from ssl_tt.training.head_run import finetune

        out = self.out or Path("checkpoints") / settings.name
        for task, scores in finetune(settings, out).items():
            for metric, estimate in scores.items():
                print(f"{task} {metric}: {' '.join(interval(estimate._asdict()))}")
        if processes.is_main():
            print(out)


@dataclass
class Compare(Verb):
    """Pretrain every objective with every seed, probe them beside the baselines, and write the report.

    A recipe with [variants] and [questions] is a study: each variant is compared so, and the report sets them side by
    side, question by question. Started again, it goes on where it stopped.

    Example: ssl-tt compare recipes/real.toml --seeds 0 1 2
    """

    settings = "ssl_tt.training.config:CompareRecipe"

    recipe: Positional[Path]
    """TOML recipe of a comparison."""
    out: MaybePath = None
    """Folder for the runs, report.html and report.json; checkpoints/NAME if not given."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt import recipe
        from ssl_tt.training.config import CompareRecipe, StudyRecipe

        model = StudyRecipe if "variants" in recipe.read_table(self.recipe) else CompareRecipe
        settings = recipe.load(self.recipe, model, overrides)
        out = self.out or Path("checkpoints") / settings.name
        if isinstance(settings, StudyRecipe):
            from ssl_tt.report.study import write_study
            from ssl_tt.report.tables import study_terminal
            from ssl_tt.training.study import study

            found = study(settings, out)
            print(study_terminal(found))
            print(f"\n{write_study(found, out)}")
            return
        from ssl_tt.training.compare import compare

        _report(compare(settings, out), out)


@dataclass
class Probe(Verb):
    """Score one pretrained run beside the baselines, on the conversations and by the probes of a recipe.

    Example: ssl-tt probe recipes/demo.toml checkpoints/calls-cpc
    """

    settings = "ssl_tt.training.config:CompareRecipe"

    recipe: Positional[Path]
    """TOML recipe of a comparison: its data and its probes count, the encoder and the objective are the run's."""
    run_directory: Positional[Path]
    """Run directory, as `ssl-tt pretrain` leaves it."""
    out: MaybePath = None
    """Folder for report.html and report.json; RUN-probe if not given."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt import recipe
        from ssl_tt.training.config import CompareRecipe

        settings = recipe.load(self.recipe, CompareRecipe, overrides)
        from ssl_tt.training.compare import probe_run

        out = self.out or self.run_directory.with_name(f"{self.run_directory.name}-probe")
        _report(probe_run(settings, self.run_directory, out), out)


@dataclass
class Events(Verb):
    """Find the turn-taking events of a manifest and count them by kind; no audio is needed.

    Example: ssl-tt events corpora/primock57/manifest.jsonl --out events.csv --preset vap2022
    """

    manifest: Positional[Path]
    """Manifest with speech segments of two speakers."""
    out: Path
    """File to write: .jsonl, .csv, or .txt with labels for Audacity (of one conversation)."""
    preset: str = "inoue2024"
    """Definition of the events: vap2022, vap2023, vap_event, inoue2024, skantze2017 or roddy2018."""
    conversation: MaybeText = None
    """Id of the only conversation to look at."""
    frame_rate_hz: MaybeNumber = None
    """Frames a second of the voice activity that the definition is applied to, Hz; 50, or the preset's own 20."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt.turns.event_files import write_events

        counts = write_events(self.manifest, self.out, self.preset, self.frame_rate_hz, self.conversation)
        print(f"{self.out}: {sum(counts.values())} events")
        for kind, count in counts.items():
            print(f"{count:8} {kind}")


@dataclass
class Encode(Verb):
    """Encode a recording with a pretrained encoder: features [speakers, frames, channels], float32.

    Example: ssl-tt encode checkpoints/cpc call.wav --out call.npy
    """

    checkpoint: Positional[Path]
    """Run directory (its best checkpoint) or one checkpoint."""
    audio: Positional[Path]
    """Audio file, one channel a speaker; resampled to the encoder's rate as it is read."""
    out: Path
    """File to write, .npy."""

    def run(self, overrides: Sequence[str]) -> None:
        if self.out.suffix != ".npy":
            raise InputError(f"{self.out}: features are written as .npy; change the suffix")
        import numpy as np

        from ssl_tt.data.atomic import atomically
        from ssl_tt.data.audio import read
        from ssl_tt.training.checkpoint import load_encoder

        encoder = load_encoder(self.checkpoint)
        samples = read(self.audio, sample_rate_hz=encoder.sample_rate_hz)
        features = encoder.encode(samples, encoder.sample_rate_hz).numpy()
        with atomically(self.out) as file:
            np.save(file, features)
        print(f"{self.out}: {' x '.join(map(str, features.shape))} at {encoder.frame_rate_hz:g} frames a second")


@dataclass
class Stream(Verb):
    """Encode frame by frame as audio comes in, from a file or from standard input: a line of JSON a frame, at once.

    Example: ssl-tt stream checkpoints/cpc - --sample-rate-hz 16000 --channels 2 < call.raw
    """

    checkpoint: Positional[Path]
    """Run directory (its best checkpoint) or one checkpoint."""
    audio: Positional[Path]
    """Audio file, one channel a speaker, or - for standard input: 16-bit little-endian PCM without a header."""
    out: MaybePath = None
    """File to write once the audio ends, .npy, as `ssl-tt encode` does; lines of JSON on standard output if not given.
    """
    representation: str = "encoder"
    """What to give: encoder, or another sequence that the objective has, such as context or codes."""
    sample_rate_hz: MaybeInteger = None
    """Sample rate of standard input, Hz; the encoder's, as nothing is resampled there."""
    channels: MaybeInteger = None
    """Channels of standard input."""

    def run(self, overrides: Sequence[str]) -> None:
        if self.out is not None and self.out.suffix != ".npy":
            raise InputError(f"{self.out}: features are written as .npy; change the suffix")
        live = str(self.audio) == "-"
        if not live and (self.sample_rate_hz or self.channels):
            raise InputError(f"{self.audio}: a file says its rate and channels itself; leave the options out")
        import json

        import numpy as np

        from ssl_tt import timebase
        from ssl_tt.data.atomic import atomically
        from ssl_tt.training.checkpoint import load_objective
        from ssl_tt.training.live import file_chunks, frames, standard_input

        objective = load_objective(self.checkpoint)
        encoder = objective.encoder
        if live:
            chunks = standard_input(encoder, self.sample_rate_hz, self.channels)
        else:
            chunks = file_chunks(self.audio, encoder)
        found = frames(objective, self.representation, chunks)
        if self.out is None:
            for number, frame in enumerate(found):
                end_seconds = timebase.seconds(number + 1, encoder.frame_rate_hz)
                values = [[float(str(value)) for value in speaker] for speaker in frame]  # shortest that is the float32
                line = {"frame": number, "end_seconds": end_seconds, self.representation: values}
                print(json.dumps(line), flush=True)
            return
        whole = list(found)
        if not whole:
            raise InputError(f"{self.audio}: ended before a frame of {encoder.hop_samples} samples was complete")
        features = np.stack(whole, axis=1)
        with atomically(self.out) as file:
            np.save(file, features)
        print(f"{self.out}: {' x '.join(map(str, features.shape))} at {encoder.frame_rate_hz:g} frames a second")


@dataclass
class Reconstruct(Verb):
    """Let a run rebuild a recording from its codes: original.wav, reconstruction.wav and spectrograms.png to compare.

    A log-mel is made to sound by Griffin and Lim's method, a WaveNet draws sample by sample, slower than real time.

    Example: ssl-tt reconstruct checkpoints/vqvae call.wav --out heard --start-seconds 20
    """

    checkpoint: Positional[Path]
    """Run directory (its best checkpoint) or one checkpoint, of an objective with a decoder."""
    audio: Positional[Path]
    """Audio file, one channel a speaker; resampled to the encoder's rate as it is read."""
    out: Path
    """Folder to write to."""
    start_seconds: float = 0.0
    """Where in the recording to begin, seconds."""
    seconds: float = 5.0
    """How much of it to rebuild, seconds."""
    seed: int = 0
    """Seed of the phases, or of the samples that are drawn."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt.report.listening import write_reconstruction

        asked = self.start_seconds, self.seconds, self.seed
        distances = write_reconstruction(self.checkpoint, self.audio, self.out, *asked)
        shown = " and ".join(f"{distance:.1f}" for distance in distances)
        print(f"{self.out}: log spectral distance {shown} dB")


@dataclass
class Prior(Verb):
    """Learn how likely the codes of a finished VQ-VAE or VQ-VAE-2 run are, and print the bits a second that they take.

    Each level of codes has a prior of its own, a finer one given the coarser that is decoded first, and its use: the
    perplexity of every codebook while a channel speaks, and in all. The run stays as it is; what is learned goes to
    RUN/prior, and is found there when the same is asked again.

    Example: ssl-tt prior checkpoints/vqvae --steps 1000 --sample-seconds 5
    """

    settings = "ssl_tt.objectives.config:PriorConfig"

    run_directory: Positional[Path]
    """Run directory, as `ssl-tt pretrain` leaves it; its training conversations are read again."""
    sample_seconds: MaybeNumber = None
    """Draw so many seconds of codes too and let the decoder make them sound: RUN/prior/sample.wav."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt import recipe
        from ssl_tt.objectives.config import PriorConfig

        settings = recipe.load(None, PriorConfig, overrides)
        from ssl_tt.training.prior import sample, together, train_prior

        levels = train_prior(self.run_directory, settings)
        for name, level in levels.items():
            print(f"{name}: {level}")
        if len(levels) > 1:
            print(f"together: {together(levels)}")
        if self.sample_seconds is not None:
            print(sample(self.run_directory, self.sample_seconds))


@dataclass
class Export(Verb):
    """Write a pretrained encoder as ONNX for live use, checked against PyTorch; needs the extra ssl-tt[export].

    FOLDER/stream.onnx takes a chunk and the states and gives frames and the next states, FOLDER/encoder.onnx takes
    whole recordings, FOLDER/export.json tells of inputs, states, shapes and rates.

    Example: ssl-tt export checkpoints/cpc --out exported --representations encoder context
    """

    checkpoint: Positional[Path]
    """Run directory (its best checkpoint) or one checkpoint."""
    out: Path
    """Folder to write to."""
    representations: tuple[str, ...] = ("encoder",)
    """What stream.onnx gives: encoder, and other sequences that the objective has, such as context or codes."""
    chunk_ms: MaybeNumber = None
    """Length of a chunk, ms: a whole number of frames; one frame if not given."""
    weights: Literal["fp32", "int8"] = "fp32"
    """Weights of stream.onnx: int8 for half the time a frame, and features that differ by some percent."""

    def run(self, overrides: Sequence[str]) -> None:
        from ssl_tt.training.export import export

        for exported in export(self.checkpoint, self.out, self.representations, self.chunk_ms, self.weights):
            print(exported)


VERBS: dict[str, type[Verb]] = {
    verb.__name__.lower(): verb
    for verb in (
        Demo,
        Simulate,
        Prepare,
        Check,
        Field,
        Pretrain,
        Finetune,
        Probe,
        Compare,
        Events,
        Encode,
        Stream,
        Reconstruct,
        Prior,
        Export,
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code: 0 done, 1 failed, 2 bad usage or input, 3 stopped with a checkpoint."""
    try:
        verb, overrides = _parse(list(sys.argv[1:] if argv is None else argv))
        if verb is not None:
            verb.run(overrides)
        return 0
    except (InputError, RunError, StoppedEarly) as error:
        return _failed(error, str(error), error.exit_code)
    except OSError as error:
        return _failed(error, f"{error.filename or 'input or output'}: {error.strerror or error}", RunError.exit_code)
    except KeyboardInterrupt as error:
        return _failed(error, "interrupted; checkpoints that were written are whole", 130)


def _failed(error: BaseException, message: str, exit_code: int) -> int:
    if os.environ.get("SSL_TT_DEBUG") == "1":
        raise error
    print(" ".join(message.split()), file=sys.stderr)
    return exit_code


def _report(comparison: "Comparison", out: Path) -> None:
    """Print the tables, and the path of the page."""
    from ssl_tt.report.html import write_report
    from ssl_tt.report.tables import terminal

    print(terminal(comparison))
    print(f"\n{write_report(comparison, out)}")


def _list(problems: Sequence[str], warnings: Sequence[str], advice: str) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise InputError(f"{advice}; {len(problems)} bad items")


def _experiment(path: Path, overrides: Sequence[str]) -> "Experiment":
    """A recipe of any kind, by the keys that it alone has."""
    from ssl_tt import recipe
    from ssl_tt.training.config import CompareRecipe, FinetuneRecipe, PretrainRecipe, StudyRecipe

    table = recipe.read_table(path)
    model: type[Experiment] = FinetuneRecipe
    for key, of_key in (("objective", PretrainRecipe), ("objectives", CompareRecipe), ("variants", StudyRecipe)):
        model = of_key if key in table else model
    return recipe.load(path, model, overrides)


# --- Arguments -------------------------------------------------------------------------------------------------------


def _parse(argv: list[str]) -> tuple[Verb | None, list[str]]:
    """The verb with its arguments, and the options that are fields of its recipe; None after help."""
    if not argv or argv[0] in ("-h", "--help"):
        _tyro(tyro.extras.subcommand_cli_from_dict, VERBS, prog="ssl-tt", args=["--help"], description=_ABOUT)
        return None, []
    if argv[0] == "--version":
        from ssl_tt import __version__

        print(__version__)
        return None, []
    if argv[0] not in VERBS:
        near = get_close_matches(argv[0], VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(VERBS)}"
        raise InputError(f"ssl-tt: unknown verb {argv[0]!r}; {hint}")
    verb = VERBS[argv[0]]
    own, overrides = _split(verb, argv[1:])
    if "-h" in own or "--help" in own:
        _tyro(tyro.cli, _with_recipe_fields(verb), prog=f"ssl-tt {argv[0]}", args=["--help"])
        return None, []
    return _tyro(tyro.cli, verb, prog=f"ssl-tt {argv[0]}", args=own), overrides


_ABOUT = "Self-supervised speech encoders for turn-taking. `ssl-tt VERB --help` tells all of a verb."


def _tyro(parse: Any, *arguments: Any, **options: Any) -> Any:
    """Let tyro parse or print help; a mistake, which it explains in a box, becomes one line."""
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            return parse(*arguments, **options)
    except SystemExit as leave:
        if not leave.code:
            return None
        words = re.sub(r"[╭╮╰╯│─]+|-{3,}", " ", box.getvalue())
        raise InputError(f"{options['prog']}: {' '.join(words.split())}") from None


def _split(verb: type[Verb], tokens: list[str]) -> tuple[list[str], list[str]]:
    """Arguments of the verb itself, and options with their values that are fields of its recipe."""
    names = {"--help", *(f"--{each.name.replace('_', '-')}" for each in fields(verb))}
    own: list[str] = []
    overrides: list[str] = []
    current = own
    for token in tokens:
        if token.startswith("--"):
            known = token.partition("=")[0].replace("_", "-") in names
            current = own if known or verb.settings is None else overrides
        current.append(token)
    return own, overrides


def _with_recipe_fields(verb: type[Verb]) -> Any:
    """The verb with the fields of its recipe as further options, for help: one group a table."""
    if verb.settings is None:
        return verb
    from ssl_tt import recipe

    module, _, name = verb.settings.partition(":")
    # What kinds of a table say in the same words of a field of one name is said once, for all of them.
    options: dict[tuple[str, str], dict[str, list[str]]] = {}
    metavars: dict[tuple[str, str], str] = {}
    for each in recipe.fields(getattr(import_module(module), name)):
        option = each.table, f"{each.table}.{each.name}" if each.table else each.name
        default = "required" if each.default is None else f"default: {each.default}"
        range_ = "" if each.metavar.startswith("{") else f"{each.expected[:1].upper()}{each.expected[1:]} "
        text = f"{each.description} {range_}({default})."
        options.setdefault(option, {}).setdefault(text, []).append(each.kind)
        metavars.setdefault(option, each.metavar)
    tables: dict[str, list[Any]] = {}
    for number, ((table, option_name), texts) in enumerate(options.items()):
        shown = tyro.constructors.PrimitiveConstructorSpec[str](
            nargs=1,
            metavar=metavars[table, option_name],
            instance_from_str=lambda words: words[0],
            is_instance=lambda value: True,
            str_from_instance=lambda value: [value],
        )
        text = " ".join(f"[{', '.join(kinds)}] {text}" if any(kinds) else text for text, kinds in texts.items())
        about = tyro.conf.arg(name=option_name, help=text, help_behavior_hint="")
        tables.setdefault(table, []).append((f"field{number}", Annotated[str, shown, about], field(default="")))
    groups = []
    for number, (table, members) in enumerate(tables.items()):
        group = make_dataclass(f"Table{number}", members)
        about = tyro.conf.arg(name="", help=f"Fields of the recipe: {table or 'top'}")
        groups.append((f"table{number}", Annotated[group, about], field(default_factory=group)))
    return make_dataclass(verb.__name__, groups, bases=(verb,), namespace={"__doc__": verb.__doc__})


if __name__ == "__main__":
    sys.exit(main())
