import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ssl_tt import cli
from ssl_tt.encoder.receptive_field import compose, layer, receptive_field
from ssl_tt.errors import InputError, RunError
from ssl_tt.report import figures, post, responses
from ssl_tt.report.post import FOUR, STRIDES, TWO, write_post
from ssl_tt.report.responses import MAPS, encoder_gradient, impulse_responses, post_encoder, resnet_responses

KINDS = [(axes, dilation) for axes in ("1d", "2d") for dilation in (1, 2)]


def answering(picture):
    """Frames after the impulse with any output."""
    return picture.starts[picture.values.any(axis=1)].tolist()


# --- Impulses


@pytest.mark.parametrize(("axes", "dilation"), KINDS)
def test_causal_layers_answer_never_before_the_impulse_and_regular_ones_do(axes, dilation):
    causal, regular = (impulse_responses(causal, axes, dilation) for causal in (True, False))
    for depth in (1, 2, 3):
        answers = list(range(0, 2 * dilation * depth + 1, dilation))
        assert answering(causal[depth]) == answers
        assert answering(regular[depth]) == [frame - dilation * depth for frame in answers]


@pytest.mark.parametrize(("axes", "maps"), [("1d", [1, 15, 15, 15]), ("2d", [1, 3, 5, 7])])
@pytest.mark.parametrize("causal", [True, False])
def test_one_dimension_mixes_all_maps_at_once_and_two_spread(causal, axes, maps):
    pictures = impulse_responses(causal, axes)
    assert [np.count_nonzero(picture.values.any(axis=0)) for picture in pictures] == maps
    assert all(picture.values.shape[1] == MAPS for picture in pictures)


def test_three_layers_of_ones_give_trinomial_coefficients():
    values = impulse_responses(True, "1d")[3].values
    row = values[values.any(axis=1), 0]
    assert (row / row[0]).tolist() == [1, 3, 6, 7, 6, 3, 1]


@pytest.mark.parametrize(("stride", "spans"), [(1, [1, 4, 6, 8]), (2, [1, 4, 8, 12]), (4, [1, 4, 12, 20])])
def test_a_stride_multiplies_what_later_layers_add(stride, spans):
    pictures = impulse_responses(True, "1d", stride=stride, first_kernel=4)
    assert [picture.reach.span for picture in pictures] == spans
    for picture, span in zip(pictures[1:], spans[1:], strict=True):
        assert picture.frame == stride
        assert answering(picture) == list(range(0, span, stride))


def test_residual_blocks_answer_alike_with_random_weights_and_with_ones():
    for random, ones in zip(resnet_responses(all_ones=False), resnet_responses(all_ones=True), strict=True):
        assert answering(random) == answering(ones) == ones.reach.lags.tolist()
        assert answering(ones)[0] == 0
        assert set(np.unique(ones.values)) <= {0, 1}
    assert len(np.unique(random.values)) > MAPS


def test_pictures_are_the_same_each_time_and_leave_the_global_generator_alone():
    import torch

    before = torch.get_rng_state()
    one, two = (encoder_gradient(post_encoder((3, 3))).values for _ in range(2))
    assert np.array_equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


# --- Gradients


@pytest.mark.parametrize(
    ("stacks", "combine_at", "span", "reached"),
    [
        ([(3, 1)], "end", 11, 11),
        ([(3, 3)], "end", 31, 11),
        (TWO, "end", 31, 18),
        (TWO, "every_layer", 31, 29),
        (FOUR, "end", 61, 35),
        (FOUR, "every_layer", 61, 56),
    ],
)
def test_the_gradient_of_the_posts_encoders_reaches_what_is_computed(stacks, combine_at, span, reached):
    config = post_encoder(*stacks, combine_at=combine_at)
    picture = encoder_gradient(config)
    assert tuple(answering(picture)) == receptive_field(config).reached
    assert (picture.reach.span, len(answering(picture))) == (span, reached)
    assert answering(picture)[-1] == 0
    assert picture.starts[-1] > 0  # some of the future is in the picture, and empty


@pytest.mark.parametrize(("dilation", "spans"), [(1, [14, 24, 44]), (3, [34, 64, 124])])
def test_the_gradient_ends_with_the_marked_frame_at_every_stride(dilation, spans):
    for stride, span in zip(STRIDES, spans, strict=True):
        picture = encoder_gradient(post_encoder((3, dilation), stride=stride, prelayer_kernel=4))
        assert (answering(picture)[0], answering(picture)[-1]) == (1 - span, 0)


def test_a_picture_that_disagrees_with_the_arithmetic_is_not_drawn(monkeypatch):
    monkeypatch.setattr(responses, "layer", lambda kernel, *arguments, **options: layer(kernel + 1, *arguments))
    with pytest.raises(RunError, match=r"the gradient reaches the frames \[62, 63, 64\], computed were \[61, 62"):
        impulse_responses(True, "1d")


# --- Drawing


def drawn_frames(bars):
    """Whole frames that bars cover."""
    spans = [path.get_extents().intervalx for path in bars.get_paths()]
    return [frame for low, high in spans for frame in range(round(low + 0.5), round(high + 0.5))]


def test_the_lanes_show_exactly_the_frames_seen_and_the_holes():
    reach = compose(layer(3, 3), layer(3, 2))
    frames, holes = figures.fields([("one", reach)]).axes[0].collections
    assert sorted(drawn_frames(frames)) == [-10, -8, -7, -6, -5, -4, -3, -2, 0]
    assert sorted(drawn_frames(holes)) == [-9, -1]


@pytest.mark.parametrize("causal", [True, False])
def test_only_output_before_the_impulse_is_called_a_leak(causal):
    pictures = [("picture", picture) for picture in impulse_responses(causal, "2d")]
    figure = figures.impulses([("heading", "mel band", pictures)], range(-8, 14))
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert ("output before it: the future leaks" in labels) != causal
    for axes in figure.axes:
        (cells,) = axes.collections
        for path, colour in zip(cells.get_paths(), cells.get_facecolors(), strict=True):
            assert (to_hex(colour) == "#d55e00") == (path.get_extents().x1 < -0.5)


# --- The command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("post") / "figures"
    assert cli.main(["field", "--post", str(out)]) == 0
    return out


def test_the_command_writes_the_page_and_every_figure_twice(folder):
    names = {path.stem for path in folder.glob("*.png")}
    assert len(names) == len(post.SECTIONS)
    written = {f"{name}{suffix}" for name in names for suffix in (".png", ".svg")}
    assert {path.name for path in folder.iterdir()} == written | {"index.html"}
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    for path in folder.glob("*.svg"):
        ElementTree.parse(path)


def test_the_page_shows_each_figure_in_the_posts_order_and_asks_for_nothing(folder):
    page = (folder / "index.html").read_text()
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings[1:] == [section.heading for section in post.SECTIONS]
    assert page.count("<figcaption>") == page.count("<svg ") == len(post.SECTIONS)
    for path in folder.glob("*.png"):
        assert f'id="{path.stem}-' in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "prefers-color-scheme: dark" in page


def test_the_page_says_what_was_computed_and_mends_the_posts_slip(folder):
    page = (folder / "index.html").read_text()
    assert "1 + (3 − 1) · 2 = 5 frames" in page
    assert "The post says 3 · 2 = 6" in page
    for told in ("two see 18 of 31 frames, four 35 of 61 frames", "29 of 31 frames instead of 18 of 31 frames"):
        assert told in page
    assert "four stacks see 56 of 61 frames instead of 35 of 61 frames" in page


def test_a_folder_of_its_own_is_drawn_anew_and_nothing_else_in_it_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(post, "SECTIONS", post.SECTIONS[-1:])
    assert write_post(tmp_path) == tmp_path / "index.html"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "receptive-field.png").unlink()
    write_post(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before | {"notes.txt": b"mine"}


@pytest.mark.parametrize("name", ["index.html", "receptive-field.png"])
def test_a_folder_with_other_files_is_refused_and_left_as_it_was(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=r"holds other files, expected a new folder or one that `ssl-tt field --post`"):
        write_post(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "figures"
    path.write_text("mine")
    with pytest.raises(InputError, match="expected a new folder"):
        write_post(path)
    assert path.read_text() == "mine"
