"""The figures of the blog post that the package follows, and a page of them in the post's order.

Every number on the page is computed by `ssl_tt.encoder.receptive_field`, and was found equal to the gradient's when its
figure was drawn (see `responses`).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from ssl_tt.data.atomic import atomically
from ssl_tt.encoder.config import EncoderConfig
from ssl_tt.encoder.receptive_field import Reach, layer
from ssl_tt.errors import InputError
from ssl_tt.report import figures
from ssl_tt.report.document import document, figure_element
from ssl_tt.report.responses import (
    BLOCK_DILATIONS,
    KERNEL,
    N_LAYERS,
    Axes,
    Picture,
    encoder_gradient,
    impulse_responses,
    post_encoder,
    resnet_responses,
)

PAGE = "index.html"
_GENERATOR = '\n<meta name="generator" content="ssl-tt field --post">'

TWO = ((3, 1), (3, 3))
FOUR = ((3, 1), (3, 3), (5, 1), (5, 3))
"""Kernel and dilation of each stack."""

ROWS: dict[Axes, str] = {"1d": "feature map", "2d": "mel band"}

STRIDES = (1, 2, 4)
STRIDED_KERNEL = 4
"""Kernel of a strided layer, as below the blocks of VQ-VAE: none shorter would see every frame at stride 4."""


class PostFigure(NamedTuple):
    """A figure under the name of its file, and one sentence of what it shows."""

    name: str
    figure: Figure
    shows: str


class Section(NamedTuple):
    """A heading of the post, what it asks there, and how to draw what answers."""

    heading: str
    asks: str
    draw: Callable[[], PostFigure]


def write_post(out: Path) -> Path:
    """Draw all figures to the folder `out`, each as .png and .svg, with a page of them; returns the page's path.

    InputError if the folder holds anything but what an earlier call left there, RunError if it cannot be written.
    """
    page = out / PAGE
    made_here = page.is_file() and _GENERATOR.encode() in page.read_bytes()
    if not made_here and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out}: holds other files, expected a new folder or one that `ssl-tt field --post` made: name another"
        )
    drawn = [section.draw() for section in SECTIONS]
    # The page comes first: it needs none of the other files, and it marks the folder as made here.
    with atomically(page) as file:
        file.write(post_page(drawn).encode())
    for each in drawn:
        for suffix in (".png", ".svg"):
            figures.save(each.figure, out / f"{each.name}{suffix}")
    return page


def post_page(drawn: Sequence[PostFigure]) -> str:
    """The page of the figures, one for each section."""
    parts = [
        "<header><h1>What a causal convolutional encoder sees</h1>",
        '<p class="lead">The figures of the post <i>CNN encoders for turn-taking</i>, in its order, drawn by '
        "<code>ssl-tt field --post</code>. Time runs from left to right. Every number is computed from kernels, "
        "dilations and strides, and was found equal to what the gradient reaches.</p></header>",
        "<section><h2>Continuously, time-constrained encoding of spectrograms</h2>",
        f"<p>How much of the past is used? {escape(_erratum())}</p></section>",
    ]
    for section, each in zip(SECTIONS, drawn, strict=True):
        parts += [
            f"<section><h2>{escape(section.heading)}</h2>",
            f"<p>{escape(section.asks)}</p>",
            figure_element(each.figure, each.name, each.shows, strip=True),
            "</section>",
        ]
    return document("What a causal convolutional encoder sees", "\n".join(parts), head=_GENERATOR)


def _erratum() -> str:
    reach = layer(KERNEL, dilation=2)
    return (
        f"A kernel of {KERNEL} with dilation 2 spans 1 + ({KERNEL} − 1) · 2 = {reach.span} frames and reads "
        f"{len(reach.lags)} of them. The post says 3 · 2 = 6, which counts one step too many."
    )


# --------------------------------------------------------------------------------------------------------- impulses


def _impulses(dilation: int) -> tuple[Figure, Reach, Reach]:
    """The figure, and what three regular and three causal layers see."""
    columns, last = [], {}
    for causal in (False, True):
        for axes, rows in ROWS.items():
            pictures = impulse_responses(causal, axes, dilation)
            titles = [f"{_layers(depth)}: {_answers(pictures[depth].reach)}" for depth in (1, 2, 3)]
            heading = f"{'causal' if causal else 'regular'} {axes.upper().replace('D', '-D')}"
            columns.append((heading, rows, list(zip(["input", *titles], pictures, strict=True))))
            last[causal] = pictures[-1].reach
    return figures.impulses(columns, window=range(-8, 14)), last[False], last[True]


def _layers(depth: int) -> str:
    return "1 layer" if depth == 1 else f"{depth} layers"


def _answers(reach: Reach) -> str:
    """First and last frame that answers an impulse."""
    return f"{_signed(reach.lags[0])} to {_signed(reach.lags[-1])}"


def _signed(offset: int) -> str:
    return f"{offset:+d}".replace("-", "−") if offset else "0"


def _causality() -> PostFigure:
    figure, regular, causal = _impulses(dilation=1)
    return PostFigure(
        "impulse-dilation-1",
        figure,
        f"After three layers of kernel {KERNEL}, all weights one, the regular convolutions answer a single nonzero "
        f"input from frame {_signed(regular.lags[0])} on, that is before it is heard, the causal ones from frame "
        f"{_signed(causal.lags[0])} to {_signed(causal.lags[-1])}: all of it lies right of the line, at every depth. "
        "A 1-D convolution mixes all bands at once, a 2-D one spreads from band to band.",
    )


def _dilation() -> PostFigure:
    figure, regular, causal = _impulses(dilation=2)
    return PostFigure(
        "impulse-dilation-2",
        figure,
        f"With dilation 2 along time three layers span {causal.span} frames and answer in {len(causal.lags)} of them: "
        f"they reach further, to {_signed(causal.lags[-1])}, and leave every other frame empty; the regular ones leak "
        f"{-regular.lags[0]} frames of the future, the causal ones none.",
    )


def _strides() -> PostFigure:
    columns, spans = [], []
    for stride in STRIDES:
        pictures = impulse_responses(True, "1d", stride=stride, first_kernel=STRIDED_KERNEL)
        titles = [f"{_layers(depth)}: sees {pictures[depth].reach.span} frames" for depth in (1, 2, 3)]
        columns.append((f"stride {stride}", ROWS["1d"], list(zip(["input", *titles], pictures, strict=True))))
        spans.append(pictures[-1].reach.span)
    return PostFigure(
        "impulse-strides",
        figures.impulses(columns, window=range(-6, 24)),
        f"The first layer (kernel {STRIDED_KERNEL}) has stride {_listed(STRIDES)}; two of kernel {KERNEL} and stride 1 "
        "follow. A cell is one frame out, as wide as the input frames that it ends. The stride changes nothing in what "
        f"its own layer sees, and multiplies what the later layers add: a frame out sees {_listed(spans)} frames, none "
        "of them in the future.",
    )


def _resnet_block() -> PostFigure:
    random, ones = resnet_responses(all_ones=False), resnet_responses(all_ones=True)
    depths = (0, 1, 2, N_LAYERS)

    def titled(pictures: list[Picture]) -> list[tuple[str, Picture]]:
        return [(_blocks(depth, pictures[depth].reach), pictures[depth]) for depth in depths]

    reach = ones[-1].reach
    return PostFigure(
        "resnet-block",
        figures.impulses(
            [
                ("random weights, size of the output", "feature map", titled(random)),
                ("all weights one, all nonzero output = 1", "feature map", titled(ones)),
            ],
            window=range(-8, 30),
        ),
        f"{N_LAYERS} residual blocks of kernel {KERNEL} and dilations {_listed(BLOCK_DILATIONS)} in turn answer a "
        f"frame of ones in {_of_span(reach)}, all from the impulse on: skip connections and activations change nothing "
        "in causality, and random weights hide no path.",
    )


def _blocks(depth: int, reach: Reach) -> str:
    if depth == 0:
        return "input"
    return f"{'1 block' if depth == 1 else f'{depth} blocks'}: {_of_span(reach)}"


# -------------------------------------------------------------------------------------------------------- gradients


@cache
def _gradient(config: EncoderConfig) -> Picture:
    return encoder_gradient(config)


def _titled(name: str, config: EncoderConfig) -> tuple[str, Picture]:
    picture = _gradient(config)
    return f"{name}: spans {picture.reach.span} frames, sees {len(picture.reach.lags)}", picture


def _seen(config: EncoderConfig) -> str:
    return _of_span(_gradient(config).reach)


def _of_span(reach: Reach) -> str:
    return f"{len(reach.lags)} of {reach.span} frames"


def _encoder() -> PostFigure:
    near, far = post_encoder((3, 1)), post_encoder((3, 3))
    return PostFigure(
        "gradient-dilation",
        figures.gradients([[_titled("dilation 1", near), _titled("dilation 3", far)]]),
        f"{N_LAYERS} dilated layers of kernel 3, each in a residual block, between a pre-layer and an output layer "
        f"that see one frame. With dilation 1 the marked frame sees {_seen(near)}, with dilation 3 it looks further "
        f"back and sees {_seen(far)}: what the others hold is lost to it. Right of the line, in the future, the "
        "gradient is zero.",
    )


def _stacks_at_the_end() -> PostFigure:
    two, four = post_encoder(*TWO), post_encoder(*FOUR)
    return PostFigure(
        "gradient-stacks-end",
        figures.gradients(
            [
                [
                    _titled("two stacks, kernel 3, dilations 1 and 3", two),
                    _titled("four stacks, kernels 3 and 5, dilations 1 and 3", four),
                ]
            ]
        ),
        f"Added at the end, stacks see what each of them sees by itself and no more: two see {_seen(two)}, four "
        f"{_seen(four)}, and the far past keeps its holes.",
    )


def _stacks_at_every_layer() -> PostFigure:
    end = {name: post_encoder(*stacks) for name, stacks in (("two", TWO), ("four", FOUR))}
    every = {name: post_encoder(*stacks, combine_at="every_layer") for name, stacks in (("two", TWO), ("four", FOUR))}
    pictures = []
    for name in ("two", "four"):
        pictures.append(_titled(f"{name} stacks added at the end", end[name]))
        pictures.append(_titled(f"{name} stacks added at every layer", every[name]))
    return PostFigure(
        "gradient-stacks-every-layer",
        figures.gradients([pictures]),
        "Added after every layer, a path may change stacks from layer to layer, and the holes fill at the same span: "
        + "; ".join(f"{name} stacks see {_seen(every[name])} instead of {_seen(end[name])}" for name in end)
        + ".",
    )


def _strided_encoders() -> PostFigure:
    encoders = {
        (dilation, stride): post_encoder((KERNEL, dilation), stride=stride, prelayer_kernel=STRIDED_KERNEL)
        for dilation in (1, 3)
        for stride in STRIDES
    }
    spans = [_seen(encoders[1, stride]) for stride in STRIDES]
    holes = [_seen(encoders[3, stride]) for stride in STRIDES]
    return PostFigure(
        "gradient-strides",
        figures.gradients(
            [
                [_titled(f"stride {stride}, dilation {dilation}", encoders[dilation, stride]) for stride in STRIDES]
                for dilation in (1, 3)
            ]
        ),
        f"The same encoder over a pre-layer of kernel {STRIDED_KERNEL} and stride {_listed(STRIDES)}. With "
        f"dilation 1 the field grows without holes, {_listed(spans)}; with dilation 3 the pre-layer fills the holes at "
        f"stride 1 and not beyond, {_listed(holes)}.",
    )


def _fields() -> PostFigure:
    lanes = {
        "kernel 3, dilation 1": post_encoder((3, 1)),
        "kernel 3, dilation 3": post_encoder((3, 3)),
        "both, added at the end": post_encoder(*TWO),
        "both, added at every layer": post_encoder(*TWO, combine_at="every_layer"),
        "four (kernels 3, 5), at the end": post_encoder(*FOUR),
        "four (kernels 3, 5), at every layer": post_encoder(*FOUR, combine_at="every_layer"),
    }
    return PostFigure(
        "receptive-field",
        figures.fields([(name, _gradient(config).reach) for name, config in lanes.items()]),
        f"Computed before any training, frame by frame, and equal to the gradient in every lane: dilation 3 alone sees "
        f"{_seen(lanes['kernel 3, dilation 3'])}, with a dense stack at its side "
        f"{_seen(lanes['both, added at the end'])}, and {_seen(lanes['both, added at every layer'])} if the two are "
        "combined at every layer.",
    )


SECTIONS = (
    Section(
        "Causality",
        "How to make sure that no information flows backwards in time, regardless of the depth of the network?",
        _causality,
    ),
    Section("Dilation", "Does dilation look further back with as few layers, and as causally?", _dilation),
    Section("Strides ?", "The post leaves it open: what does a stride change?", _strides),
    Section(
        "Stacks of causal (dilated) CNNs", "Does causality hold through blocks with a skip connection?", _resnet_block
    ),
    Section("Encoder", "Backpropagate from one frame out: which frames in does it depend on?", _encoder),
    Section(
        "Multiple stacks",
        "If more information is required at every time step, do several stacks help?",
        _stacks_at_the_end,
    ),
    Section(
        "Additions",
        "And if the output of all stacks is combined at each layer, not just the last?",
        _stacks_at_every_layer,
    ),
    Section("Strides ? (encoder)", "The same gradient over a pre-layer with strides.", _strided_encoders),
    Section("Receptive field", "Can the field be known beforehand, and does it match the gradient? It does.", _fields),
)


def _listed(items: Iterable[object]) -> str:
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last
