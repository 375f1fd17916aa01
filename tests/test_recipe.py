"""Recipes: what is right is read and written back, what is wrong is told in one line."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from ssl_tt import recipe
from ssl_tt.errors import InputError
from ssl_tt.objectives import OBJECTIVES
from ssl_tt.recipe import Settings
from ssl_tt.training.config import CompareRecipe, FinetuneRecipe, PretrainRecipe, StudyRecipe

MINIMAL = """
name = "tiny"
[data]
pretrain = ["corpus"]
[objective]
kind = "cpc"
"""


class Inner(Settings):
    count: int = 3
    ratio: float = 0.5
    name: str = "a"


class Left(Settings):
    kind: Literal["left"] = "left"
    shared: int = 1
    only_left: Annotated[int, Field(ge=1, le=9)] = 2


class Right(Settings):
    kind: Literal["right"] = "right"
    shared: int = 1


class Everything(Settings):
    flag: bool = False
    rate: Annotated[float, Field(gt=0)] | None = None
    choice: Literal[8000, 16000] = 8000
    word: Literal["none", "some"] = "some"
    numbers: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.0, 1.0)
    inners: tuple[Inner, ...] = (Inner(),)
    inner: Inner = Inner()
    by_name: Annotated[dict[str, Inner], Field(default_factory=dict)]
    words: Annotated[dict[str, tuple[str, ...]], Field(default_factory=dict)]
    side: Annotated[Left | Right, Field(discriminator="kind")] = Left()
    either: Annotated[tuple[int, ...], Field(min_length=1)] | Inner = (1,)


class Centred(Settings):
    """A union whose kind may be left out, alone and in a list."""

    side: Annotated[Left | Right, Field(discriminator="kind", json_schema_extra={"default_kind": "left"})] = Left()
    sides: tuple[Annotated[Left | Right, Field(discriminator="kind", json_schema_extra={"default_kind": "right"})], ...]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return write


def refused(path: Path | None, model: type[Settings], *options: str) -> str:
    with pytest.raises(InputError) as caught:
        recipe.load(path, model, options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- Round trip

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers(-(2**63), 2**63 - 1)
INNER = st.builds(Inner, count=INTS, ratio=FLOATS, name=TEXT)
EVERYTHING = st.builds(
    Everything,
    flag=st.booleans(),
    rate=st.none() | st.floats(1e-300, 1e300),
    choice=st.sampled_from([8000, 16000]),
    word=st.sampled_from(["none", "some"]),
    numbers=st.lists(INTS, max_size=4).map(tuple),
    pair=st.tuples(FLOATS, FLOATS),
    inners=st.lists(INNER, max_size=3).map(tuple),
    inner=INNER,
    by_name=st.dictionaries(TEXT, INNER, max_size=2),
    words=st.dictionaries(TEXT, st.lists(TEXT, max_size=2).map(tuple), max_size=2),
    side=st.builds(Left, only_left=st.integers(1, 9)) | st.builds(Right, shared=INTS),
    either=st.lists(INTS, min_size=1, max_size=3).map(tuple) | INNER,
)


@given(settings=EVERYTHING)
def test_what_is_written_is_read_back_equal(settings: Everything, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(recipe.dump(settings))
    assert recipe.load(path, Everything) == settings


@pytest.mark.parametrize("path", sorted(Path("recipes").rglob("*.toml")), ids=str)
def test_every_recipe_of_the_project_is_read_and_written_back(path: Path, write: Any) -> None:
    table = recipe.read_table(path)
    model: type[Any] = PretrainRecipe if "objective" in table else FinetuneRecipe
    model = StudyRecipe if "variants" in table else CompareRecipe if "objectives" in table else model
    settings = recipe.load(path, model)
    assert recipe.load(write(recipe.dump(settings)), model) == settings
    if isinstance(settings, StudyRecipe):
        for name in settings.variants:
            settings.variant(name)


@pytest.mark.parametrize("model", [PretrainRecipe, FinetuneRecipe, CompareRecipe])
def test_a_field_that_may_be_none_is_none_when_left_out(model: type[Settings]) -> None:
    nullable = [each for each in recipe.fields(model) if each.expected.endswith("or none")]
    assert nullable
    assert {each.default for each in nullable} == {"none"}


@pytest.mark.parametrize("model", [PretrainRecipe, FinetuneRecipe, CompareRecipe])
def test_every_field_says_what_it_means(model: type[Settings]) -> None:
    silent = [f"{each.table}.{each.name}" for each in recipe.fields(model) if not each.description]
    assert [name for name in silent if not name.endswith(".kind")] == []


# --- Types


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rate = 1", ("rate", 1.0)),
        ("numbers = [4, 5, 6]", ("numbers", (4, 5, 6))),
        ("pair = [1, 2]", ("pair", (1.0, 2.0))),
    ],
)
def test_toml_values_of_the_right_kind_are_taken(text: str, value: tuple[str, Any], write: Any) -> None:
    name, expected = value
    found = getattr(recipe.load(write(text), Everything), name)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('numbers = ["3"]', 'numbers.0: given "3", expected a whole number'),
        ("numbers = [1.5]", "numbers.0: given 1.5, expected a whole number"),
        ("numbers = 3", "numbers: given 3, expected a list of a whole number"),
        ("flag = 1", "flag: given 1, expected true or false"),
        ("rate = true", "rate: given true, expected a number above 0, or none"),
        ("rate = nan", "rate: given NaN, expected a number above 0, or none"),
        ("rate = 0", "rate: given 0, expected a number above 0, or none"),
        ("choice = 44100", "choice: given 44100, expected one of 8000, 16000"),
        ("pair = [1.0]", "key pair.1 is missing, expected a number"),
        ("inner = 3", "inner: given 3, expected a table"),
        ("side.only_left = 3", "key side.kind is missing, expected one of left, right"),
        ('side.kind = "up"', 'side.kind: given "up", expected one of left, right'),
        ('side = {kind = "left", only_left = 12}', "side.only_left: given 12, expected a whole number from 1 to 9"),
        ("side = {kind = 'right', only_left = 1}", "unknown key side.only_left, expected one of kind, shared"),
        ("either = 3", "either: given 3, expected a list of 1 or more: a whole number"),
        ("either = [1, 2.5]", "either.1: given 2.5, expected a whole number"),
        ("either = [2.5]", "either.0: given 2.5, expected a whole number"),
        ("either = {count = 0.5}", "either.count: given 0.5, expected a whole number"),
        ("either = {coutn = 1}", "unknown key either.coutn; did you mean either.count?"),
        ("inners = [{cuont = 1}]", "unknown key inners.0.cuont; did you mean inners.0.count?"),
        ("coutn = 1\nflag = 3", "unknown key coutn; did you mean inners.0.count? (and 1 more wrong)"),
    ],
)
def test_a_wrong_value_is_told_with_what_was_expected(text: str, message: str, write: Any) -> None:
    path = write(text)
    assert refused(path, Everything) == f"recipe {path}: {message}"


def test_broken_toml_is_told_with_its_line(write: Any) -> None:
    path = write('name = "a"\nrate = = 3\n')
    assert refused(path, Everything).startswith(f"recipe {path}: line 2, column 8: not TOML")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 100_000, "tables in tables without end"),
        ("a = " + "9" * 5000, "a number or date that is none"),
        ("rate = 0x" + "f" * 4500, "a number or date that is none"),
        ("#" * (1 << 20) + "\n", "more than 1048576 bytes"),
    ],
)
def test_a_recipe_made_to_break_the_reader_is_refused(text: str, said: str, write: Any) -> None:
    path = write(text)
    assert refused(path, Everything).startswith(f"recipe {path}: {said}")


def test_what_is_no_recipe_at_all_is_told(tmp_path: Path) -> None:
    binary = tmp_path / "audio.wav"
    binary.write_bytes(bytes(range(256)))
    assert "not a text file" in refused(binary, Everything)
    assert "a folder" in refused(tmp_path, Everything)
    assert "no such file" in refused(tmp_path / "missing.toml", Everything)


def test_a_recipe_of_the_other_kind_is_told(write: Any) -> None:
    path = write(MINIMAL)
    assert "`ssl-tt pretrain`" in refused(path, CompareRecipe)
    compare = write(MINIMAL.replace("[objective]", "[objectives.a]"))
    assert "`ssl-tt compare`" in refused(compare, PretrainRecipe)


# --- Options


@pytest.mark.parametrize(
    ("options", "names", "value"),
    [
        (["--training.steps", "7"], ("training", "steps"), 7),
        (["--training.steps=7"], ("training", "steps"), 7),
        (["--training.learning-rate", "1"], ("training", "learning_rate"), 1.0),
        (["--training.learning_rate", ".5"], ("training", "learning_rate"), 0.5),
        (["--training.swap-channels", "false"], ("training", "swap_channels"), False),
        (["--name", "3"], ("name",), "3"),
        (["--data.pretrain", "a", "b"], ("data", "pretrain"), ("a", "b")),
        (["--encoder.normalisation", "none"], ("encoder", "normalisation"), "none"),
        (["--encoder.frontend.high_hz", "none"], ("encoder", "frontend", "high_hz"), None),
        (["--encoder.stacks.0.dilations", "1", "2"], ("encoder", "stacks", 0, "dilations"), (1, 2)),
        (["--encoder.stacks", "[{kernel = 2}, {kernel = 5}]"], ("encoder", "stacks", 1, "kernel"), 5),
        (["--encoder.stacks.0.dilations", "[1, 2]"], ("encoder", "stacks", 0, "dilations"), (1, 2)),
        (
            ["--encoder.stacks.0.dilations", "{ schedule = 'hole_free', depth = 3 }"],
            ("encoder", "stacks", 0, "block_dilations"),
            (1, 3, 9),
        ),
        (
            ["--encoder.stacks.0.dilations.schedule", "doubling", "--encoder.stacks.0.dilations.depth", "3"],
            ("encoder", "stacks", 0, "block_dilations"),
            (1, 2, 4),
        ),
        (["--objective.steps", "9"], ("objective", "steps"), 9),
        (["--simulate.a-b.hours", "2"], ("simulate", "a-b", "hours"), 2.0),
        (["--simulate.a.cross_talk_db", "-30"], ("simulate", "a", "cross_talk_db"), -30.0),
    ],
)
def test_any_field_is_set_by_an_option(options: list[str], names: tuple[Any, ...], value: Any, write: Any) -> None:
    found: Any = recipe.load(write(MINIMAL), PretrainRecipe, options)
    for name in names:
        found = getattr(found, name) if isinstance(found, Settings) else found[name]
    assert found == value
    assert type(found) is type(value)


def test_another_kind_starts_from_its_own_defaults(write: Any) -> None:
    path = write(MINIMAL + "steps = 5\n")
    settings = recipe.load(path, PretrainRecipe, ["--objective.codes", "32", "--objective.kind", "vqvae"])
    assert settings.objective.kind == "vqvae"
    assert settings.objective.codes == 32


def test_the_same_kind_keeps_the_fields_of_the_file(write: Any) -> None:
    settings = recipe.load(write(MINIMAL + "steps = 5\n"), PretrainRecipe, ["--objective.kind", "cpc"])
    assert settings.objective.kind == "cpc"
    assert settings.objective.steps == 5


def test_a_kind_with_a_default_may_be_left_out(write: Any) -> None:
    path = write("side = {only_left = 3}\nsides = [{shared = 4}, {kind = 'left'}]\n")
    settings = recipe.load(path, Centred)
    assert settings == Centred(side=Left(only_left=3), sides=(Right(shared=4), Left()))
    assert recipe.load(write(recipe.dump(settings)), Centred) == settings


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ([], Left(only_left=3)),
        (["--side.kind", "left"], Left(only_left=3)),
        (["--side.shared", "5"], Left(only_left=3, shared=5)),
        (["--side.shared", "5", "--side.kind", "right"], Right(shared=5)),
        (["--side", "{shared = 7}"], Left(shared=7)),
    ],
)
def test_options_know_the_kind_that_was_left_out(options: list[str], side: Settings, write: Any) -> None:
    path = write("side = {only_left = 3}\nsides = []\n")
    assert recipe.load(path, Centred, options).side == side
    without = write("sides = []\n")
    assert recipe.load(without, Centred, ["--side.only_left", "8"]).side == Left(only_left=8)


def test_a_wrong_key_is_told_for_the_kind_that_was_left_out(write: Any) -> None:
    assert "did you mean side.only_left?" in refused(write("side = {only_leaf = 3}\nsides = []\n"), Centred)
    path = write("sides = [{only_left = 3}]\n")
    assert "unknown key sides.0.only_left, expected one of kind, shared" in refused(path, Centred)
    message = refused(write("sides = []\n"), Centred, "--side.only_leaf", "3")
    assert message == "option --side.only_leaf: unknown field; did you mean --side.only_left?"


def test_log_mel_is_the_front_end_of_a_recipe_that_names_none(write: Any) -> None:
    settings = recipe.load(write(MINIMAL + "[encoder]\nfrontend = { mel_bands = 40 }\n"), PretrainRecipe)
    assert settings.encoder.frontend.kind == "logmel"
    assert settings.encoder.frontend.mel_bands == 40
    joined = recipe.load(
        write(MINIMAL + "[encoder.frontend]\nkind = 'joined'\nparts = [{kind = 'logmel'}, {kind = 'features'}]\n"),
        PretrainRecipe,
        ["--encoder.frontend.parts.1.voicing_threshold", "0.5"],
    )
    assert joined.encoder.frontend.feature_count == 85
    assert joined.encoder.frontend.parts[1].voicing_threshold == 0.5
    assert recipe.load(write(recipe.dump(joined)), PretrainRecipe) == joined


def test_options_alone_make_settings() -> None:
    assert recipe.load(None, Everything, ["--inner.count", "4"]).inner.count == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--training.steps", "0"], "option --training.steps: given 0, expected a whole number at least 1"),
        (["--training.steps", "ten"], 'option --training.steps: given "ten", expected a whole number at least 1'),
        (["--training.steps"], "option --training.steps: given nothing, expected a whole number at least 1"),
        (["--training.steps", "1", "2"], "option --training.steps: given 1 2, expected a whole number at least 1"),
        (["--training.stepz", "1"], "option --training.stepz: unknown field; did you mean --training.steps?"),
        (
            ["--objective.negative", "8"],
            "option --objective.negative: unknown field; did you mean --objective.negatives?",
        ),
        (["--encoder.stacks.1.kernel", "3"], "option --encoder.stacks.1.kernel: given place 1, expected one below 1"),
        (
            ["--encoder.stacks.0.dilations.dept", "2"],
            "option --encoder.stacks.0.dilations.dept: unknown field; did you mean --encoder.stacks.0.dilations.depth?",
        ),
        (
            ["--encoder.stacks.0.dilations", "[]"],
            "option --encoder.stacks.0.dilations: given [], expected a list of 1 or more: a whole number from 1 to "
            "4096",
        ),
        (
            ["--objective.kind", "cpd"],
            f'option --objective.kind: given "cpd", expected one of {", ".join(sorted(OBJECTIVES))}',
        ),
        (["steps"], "steps: not expected here; give a field as --training.steps 100"),
    ],
)
def test_a_wrong_option_is_told(options: list[str], message: str, write: Any) -> None:
    assert refused(write(MINIMAL), PretrainRecipe, *options) == message
