"""NXT, the NITE XML Toolkit's files: timed words of one speaker, and segments that point to them.

<w nite:id="ES2002a.A.words1" starttime="77.44" endtime="77.74">Hi</w>
<segment nite:id="..." starttime="77.44" endtime="80.1" participant="me011">
  <nite:child href="Bdb001.A.words.xml#id(Bdb001.w.1)..id(Bdb001.w.7)"/>
</segment>
"""

import re
from pathlib import Path
from xml.etree.ElementTree import Element

from ssl_tt.data.annotation.utterance import Utterance, from_words, time, utterance
from ssl_tt.data.annotation.xml_tree import attribute, read_xml, where
from ssl_tt.errors import InputError

_ROOT = "root"


def read_words(path: Path, tag: str = "w", start: str = "starttime", end: str = "endtime") -> list[Utterance]:
    """Elements of a tag with their times, joined to stretches of speech.

    Punctuation, and words that nobody could align, have no times or no length; they are passed over. InputError, with
    the line, for what is no NXT and for times in reverse.
    """
    words = [word for word in read_xml(path, "NXT words", _ROOT).iter(tag) if word.get(start) and word.get(end)]
    return from_words(each for word in words for each in _timed(path, word, start, end))


def read_segments(path: Path, words_path: Path) -> list[Utterance]:
    """Segments that hold words, by participant: their words where all have times, else from start to end.

    So what was said and not aligned counts as speech, and what holds laughter or breath alone does not. InputError,
    with the line, for what is no NXT, times in reverse and words that are not in the file of the words.
    """
    elements = list(read_xml(words_path, "NXT words", _ROOT))
    place = {attribute(words_path, element, "id"): number for number, element in enumerate(elements)}
    found: list[Utterance] = []
    aligned: list[Utterance] = []
    for segment in read_xml(path, "NXT segments", _ROOT).iter("segment"):
        children = segment.findall("child")
        if not children:
            continue  # a segment of segments, which come by themselves
        here = where(path, segment)
        participant = attribute(path, segment, "participant")
        inside = [word for child in children for word in _inside(path, child, elements, place)]
        words = [word for word in inside if word.tag == "w" and re.search(r"\w", word.text or "")]
        if words and all(word.get("starttime") and word.get("endtime") for word in words):
            timed = [each for word in words for each in _timed(words_path, word, "starttime", "endtime")]
            aligned += [each._replace(speaker=participant) for each in timed]
        elif words:
            first, last = (time(attribute(path, segment, name), here) for name in ("starttime", "endtime"))
            found.append(utterance(here, first, last, participant))
    return [*found, *from_words(aligned)]


def _timed(path: Path, word: Element, start: str, end: str) -> list[Utterance]:
    """The word as an utterance, none if it has no length."""
    here = where(path, word)
    first, last = time(word.attrib[start], here), time(word.attrib[end], here)
    return [] if first == last else [utterance(here, first, last)]


def _inside(path: Path, child: Element, elements: list[Element], place: dict[str, int]) -> list[Element]:
    """What a pointer such as FILE#id(FIRST)..id(LAST) or FILE#id(ONLY) points to."""
    ids = re.findall(r"id\(([^)]*)\)", attribute(path, child, "href"))
    if not 1 <= len(ids) <= 2 or any(name not in place for name in ids) or place[ids[0]] > place[ids[-1]]:
        raise InputError(f"{where(path, child)}: {child.get('href')!r}, expected words that are there, in their order")
    return elements[place[ids[0]] : place[ids[-1]] + 1]
