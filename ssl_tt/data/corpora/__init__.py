"""Corpora on disk as conversations: one adapter a corpus, which has `read(root) -> Iterator[Conversation]` and no more.

Annotation is read in `ssl_tt.data.annotation`, one reader a format. An adapter's iterator raises InputError for a bad
item and then goes on with the next one, so that a caller who wants to list all bad items can (a `map` over the items
does just that; a generator would be over).
"""

from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from ssl_tt.data.conversation import Conversation
from ssl_tt.errors import InputError

CORPORA = {
    "folder": "ssl_tt.data.corpora.folder",
    "folder-speakers": "ssl_tt.data.corpora.folder_speakers",
    "folder-mono": "ssl_tt.data.corpora.folder_mono",
    "manifest": "ssl_tt.data.corpora.manifest",
    "rttm": "ssl_tt.data.corpora.rttm",
    "lhotse": "ssl_tt.data.corpora.lhotse",
    "switchboard": "ssl_tt.data.corpora.switchboard",
    "fisher": "ssl_tt.data.corpora.fisher",
    "callhome": "ssl_tt.data.corpora.callhome",
    "maptask": "ssl_tt.data.corpora.maptask",
    "candor": "ssl_tt.data.corpora.candor",
    "ami": "ssl_tt.data.corpora.ami",
    "icsi": "ssl_tt.data.corpora.icsi",
    "harpervalley": "ssl_tt.data.corpora.harpervalley",
    "primock57": "ssl_tt.data.corpora.primock57",
}


def read_corpus(corpus: str, root: Path) -> Iterator[Conversation]:
    """Conversations of a corpus under a folder; InputError if there is no such corpus or folder."""
    if corpus not in CORPORA:
        near = get_close_matches(corpus, CORPORA, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"unknown corpus {corpus!r}, expected one of {', '.join(CORPORA)}{hint}")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected that of the corpus {corpus}")
    conversations: Iterator[Conversation] = import_module(CORPORA[corpus]).read(root)
    return conversations
