"""What README.md shows as printed is what its code prints."""

import contextlib
import io
import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()
EVENTS = README.partition("\n## Events\n")[2].partition("\n## ")[0]


def test_the_events_of_the_readme_are_those_that_its_code_prints() -> None:
    found = re.fullmatch(r".*?```python\n(.*?)```\n\n```\n(.*?)```\n.*", EVENTS, re.DOTALL)
    assert found, "expected under ## Events a block of Python and one of what it prints"
    code, shown = found.groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == shown
