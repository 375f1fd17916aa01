"""The shell of every page: one file that holds its style and its figures, asks the network for nothing, and reads in
light and in dark."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from matplotlib.figure import Figure

from ssl_tt.report import figures
from ssl_tt.report.tables import Table


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


def table_element(table: Table, caption: str = "") -> str:
    """The table, numbers to the right, with what it says of itself below, plain text."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{'' if column < table.words else ' class=number'}>{escape(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        )

    rows = "\n".join(
        f"<tr{' class=best' if i in table.best else ''}>{line(row, 'td')}</tr>" for i, row in enumerate(table.rows)
    )
    note = f'<p class="note">{escape(caption)}</p>' if caption else ""
    head = f"<thead><tr>{line(table.header, 'th')}</tr></thead>"
    return f'<div><div class="wide"><table>{head}\n<tbody>{rows}</tbody></table></div>{note}</div>'
