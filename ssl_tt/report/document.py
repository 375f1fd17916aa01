"""The shell of every page: one file that holds its style and its figures, asks the network for nothing, and reads in
light and in dark."""

from html import escape
from importlib.resources import files

from matplotlib.figure import Figure

from ssl_tt.report import figures


def document(title: str, body: str, head: str = "") -> str:
    """A whole page; `title` is plain text, `body` and what else belongs in the `head` are HTML."""
    style = files("ssl_tt.report").joinpath("page.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">{head}
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def figure_element(figure: Figure, name: str, caption: str, strip: bool = False) -> str:
    """The figure with its caption, plain text; `name` begins its ids, a `strip` is as wide as the page."""
    picture = figures.svg(figure, name)
    if strip:
        picture = f'<div class="wide">{picture}</div>'
    return f"<figure{' class=strip' if strip else ''}>{picture}<figcaption>{escape(caption)}</figcaption></figure>"
