"""What a user sees is one line, whatever it quotes."""

import pytest

from ssl_tt.errors import InputError, RunError, StoppedEarly


@pytest.mark.parametrize("kind", [InputError, RunError, StoppedEarly])
def test_an_error_is_one_line_of_bounded_length(kind: type[Exception]) -> None:
    assert str(kind("call.wav: 1 channel, expected 2")) == "call.wav: 1 channel, expected 2"
    assert str(kind("a\nb\r\n  c")) == "a b c"
    long = str(kind(f"call.wav: {'x' * 100_000}, expected 2: fetch it again"))
    assert len(long) < 10_000
    assert long.startswith("call.wav: xxx")
    assert long.endswith("xxx, expected 2: fetch it again")
