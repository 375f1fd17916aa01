import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_tt.encoder.config import DilationSchedule, EncoderConfig, LogMelConfig, StackConfig
from ssl_tt.encoder.receptive_field import (
    SKIP,
    Reach,
    check_conversations,
    check_window,
    compose,
    layer,
    measured_reach,
    receptive_field,
    union,
)
from ssl_tt.errors import InputError
from tests.encoder.configs import SMALL, SMALL_FRONTEND, build

FOUR = [layer(kernel, dilation) for kernel in (3, 5) for dilation in (1, 3)]


def rows(*layers: Reach) -> Reach:
    """Stacks of five such layers each, combined at the end."""
    return union(*(compose(*[one] * 5) for one in layers))


@pytest.mark.parametrize(
    ("reach", "span", "reached"),
    [
        (rows(layer(3, 1)), 11, 11),
        (rows(layer(3, 2)), 21, 11),
        (rows(layer(3, 3)), 31, 11),
        (rows(union(SKIP, layer(3, 3))), 31, 11),
        (rows(layer(5, 1)), 21, 21),
        (rows(layer(5, 3)), 61, 21),
        (rows(layer(3, 1), layer(3, 3)), 31, 18),
        (compose(*[union(layer(3, 1), layer(3, 3))] * 5), 31, 29),
        (rows(*FOUR), 61, 35),
        (compose(*[union(*FOUR)] * 5), 61, 56),
        (compose(*(layer(2, 2**i) for i in range(10))), 1024, 1024),
        (compose(*(layer(3, 3**i) for i in range(4))), 81, 81),
        (compose(*[layer(2, 2**i) for i in range(10)] * 4), 4093, 4093),
        (compose(layer(10, 1, 5), layer(8, 1, 4), *[layer(4, 1, 2)] * 3), 465, 465),
    ],
)
def test_reference_settings_see_what_is_published(reach, span, reached):
    assert (reach.span, len(reach.lags)) == (span, reached)


def five_blocks(*stacks: tuple[int, int], **settings: str) -> EncoderConfig:
    """The post's encoder of five equal layers: stride 1, and pre-layers that see one frame."""
    return EncoderConfig(
        stride=1,
        prelayer_kernel=1,
        stacks=tuple(StackConfig(kernel=kernel, dilations=(dilation,) * 5) for kernel, dilation in stacks),
        **settings,
    )


ALL_FOUR = ((3, 1), (3, 3), (5, 1), (5, 3))


@pytest.mark.parametrize("combine", ["add", "concat"])
@pytest.mark.parametrize("block", ["resnet", "wavenet"])
@pytest.mark.parametrize(
    ("stacks", "combine_at", "span", "reached"),
    [
        ([(3, 1)], "end", 11, 11),
        ([(3, 2)], "end", 21, 11),
        ([(3, 3)], "end", 31, 11),
        ([(3, 3)], "every_layer", 31, 11),
        ([(5, 1)], "end", 21, 21),
        ([(5, 3)], "end", 61, 21),
        ([(3, 1), (3, 3)], "end", 31, 18),
        ([(3, 1), (3, 3)], "every_layer", 31, 29),
        (ALL_FOUR, "end", 61, 35),
        (ALL_FOUR, "every_layer", 61, 56),
    ],
)
def test_encoders_of_the_post_see_what_is_published(stacks, combine_at, span, reached, combine, block):
    config = five_blocks(*stacks, combine_at=combine_at, combine=combine, block=block)
    field = receptive_field(config)
    assert (field.span_frames, len(field.reached)) == (span, reached)
    small = config.model_copy(update={"frontend": SMALL_FRONTEND, "channels": 2, "output_channels": 2})
    assert measured_reach(build(small)).frames == field.reached


@pytest.mark.parametrize(
    ("kernel", "schedule", "depth", "span"),
    [(2, "doubling", 10, 1024), (2, "hole_free", 10, 1024), (3, "hole_free", 4, 81), (5, "hole_free", 3, 125)],
)
def test_schedules_grow_without_holes(kernel, schedule, depth, span):
    stack = StackConfig(kernel=kernel, dilations=DilationSchedule(schedule=schedule, depth=depth))
    field = receptive_field(EncoderConfig(stride=1, prelayer_kernel=1, stacks=(stack,)))
    assert (field.span_frames, field.holes) == (span, ())


def test_any_faster_growth_than_hole_free_leaves_a_hole():
    field = receptive_field(EncoderConfig(stride=1, prelayer_kernel=1, stacks=(StackConfig(dilations=(1, 3, 10)),)))
    assert len(field.holes) == 2  # one each before the two older taps


def test_the_gates_of_a_wavenet_of_forty_layers_hide_nothing():
    stack = StackConfig(kernel=2, dilations=tuple(2**i for i in range(4)) * 10)
    config = EncoderConfig(
        frontend=SMALL_FRONTEND, stride=1, prelayer_kernel=1, channels=2, block="wavenet", stacks=(stack,)
    )
    assert measured_reach(build(config)).frames == receptive_field(config).reached


def test_a_band_sees_its_neighbours_and_no_band_beyond_the_edge():
    config = SMALL["2d"]  # 6 mel bands, stride 2 under kernel 3, two blocks of kernel 3
    field = receptive_field(config)
    assert config.bands == 3
    assert field.reached_bands(0) == (0, 1, 2, 3, 4, 5)
    wide = receptive_field(config.model_copy(update={"frontend": LogMelConfig(mel_bands=80)}))
    assert wide.reached_bands(10) == tuple(range(15, 26))
    assert wide.reached_bands(39) == tuple(range(73, 80))
    assert wide.span_bands == 11
    assert "40 bands of 80 mel bands inside, each sees up to 11" in wide.table()
    assert receptive_field(SMALL["one stack"]).reached_bands(0) == tuple(range(6))


def test_kernel_3_with_dilation_2_spans_5_and_not_6():
    assert layer(3, 2).span == 5
    stack = StackConfig(kernel=3, dilations=(2,))
    assert receptive_field(EncoderConfig(stride=1, prelayer_kernel=1, stacks=(stack,))).span_frames == 5


def test_symmetric_padding_of_cpc_audio_looks_152_samples_ahead():
    # kernel, stride, padding; the last tap lies kernel - stride - padding beyond the stride's end
    padded = [(10, 5, 3), (8, 4, 2), (4, 2, 1), (4, 2, 1), (4, 2, 1)]
    reach = compose(*(layer(k, 1, stride, lookahead=k - stride - padding) for k, stride, padding in padded))
    assert reach.lags[0] == -152
    assert reach.stride - 1 - reach.lags[0] == 311  # past the start of the hop


def test_stacks_of_different_strides_cannot_stand_side_by_side():
    with pytest.raises(ValueError, match=r"strides \[1, 2\]"):
        union(layer(3), layer(3, stride=2))


layers = st.builds(layer, st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))


@given(st.lists(layers, min_size=1, max_size=4))
def test_composition_equals_tracing_every_path(row):
    reached, stride = {0}, 1
    for one in reversed(row):  # from the output down, frame by frame
        reached = {lag * one.stride + int(tap) for lag in reached for tap in one.lags}
        stride *= one.stride
    assert (compose(*row).lags.tolist(), compose(*row).stride) == (sorted(reached), stride)


def test_default_encoder_sees_1655_ms_without_holes():
    field = receptive_field(EncoderConfig())
    # 81 frames of stride 2 under a kernel of 4; a window of 400 whose first weight is zero
    assert (field.span_frames, field.holes, field.coverage) == (80 * 2 + 4, (), 1.0)
    assert field.span_samples == 163 * 160 + 399
    assert field.span_ms == pytest.approx(26479 / 16)
    assert (field.hop_ms, field.hop_samples, field.lookahead_ms) == (20, 320, 0)


def test_encoder_and_its_settings_have_one_field():
    config = SMALL["two stacks added"]
    assert receptive_field(build(config)) == receptive_field(config)


def test_table_tells_each_stack_and_all():
    config = EncoderConfig(
        stride=1,
        prelayer_kernel=1,
        frontend=LogMelConfig(mel_bands=40),
        stacks=(StackConfig(dilations=(1,) * 5), StackConfig(dilations=(3,) * 5)),
    )
    lines = [line.split() for line in receptive_field(config).table().splitlines()]
    assert lines[2] == ["1", "3", "1,", "1,", "1,", "1,", "1", "11", "11", "0", "1999", "124.9"]
    assert lines[3] == ["2", "3", "3,", "3,", "3,", "3,", "3", "31", "11", "20", "5199", "324.9"]
    assert lines[4] == ["all", "31", "18", "13", "5199", "324.9"]


def test_short_window_is_refused_with_the_way_out():
    one, two = EncoderConfig(), EncoderConfig(stacks=(StackConfig(), StackConfig(kernel=5)))
    check_window(receptive_field(one), 26479 / 16000)
    with pytest.raises(
        InputError, match=r"window 1\.6 s is shorter than the receptive field 1\.65 s: raise data\.window_seconds or "
    ):
        check_window(receptive_field(one), 1.6)
    with pytest.raises(InputError, match=r"or drop stack 2 \(kernel 5, dilations 1, 3, 9, 27\)"):
        check_window(receptive_field(two), 2.0)


def test_a_field_longer_than_every_conversation_is_refused_with_the_way_out():
    one, two = EncoderConfig(), EncoderConfig(stacks=(StackConfig(), StackConfig(kernel=5)))
    check_conversations(receptive_field(one), 26479 / 16000, "data.pretrain")
    with pytest.raises(
        InputError,
        match=r"encoder: a frame sees 1\.65 s, the longest conversation of data\.pretrain lasts 1\.60 s: shorten its "
        r"dilations \(kernel 3, dilations 1, 3, 9, 27\), or add longer conversations",
    ):
        check_conversations(receptive_field(one), 1.6, "data.pretrain")
    with pytest.raises(InputError, match=r"of data\.probe lasts 2\.00 s: drop stack 2 \(kernel 5, "):
        check_conversations(receptive_field(two), 2.0, "data.probe")


def test_holes_and_narrow_windows_are_warned_of():
    holes = receptive_field(EncoderConfig(stacks=(StackConfig(dilations=(9, 9)),)))
    assert [text.split(":")[0] for text in holes.warnings(10.0)] == [
        f"a frame reaches {len(holes.reached)} of the {holes.span_frames} frames it spans"
    ]
    whole = receptive_field(EncoderConfig())
    assert whole.warnings(10.0) == []
    assert whole.warnings(1.6)[0].startswith("window 1.6 s is shorter than the receptive field 1.65 s: raise data.win")
    assert whole.warnings(1.6, longest_seconds=1.6)[0].startswith("encoder: a frame sees 1.65 s, the longest conv")
    assert whole.warnings(2.0, longest_seconds=2.0)[0].startswith(
        "only 17% of the frames of a 2 s window see a whole receptive field"
    )
