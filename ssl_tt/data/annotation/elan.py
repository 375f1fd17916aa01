"""ELAN's annotation files, *.eaf (Max Planck Institute for Psycholinguistics): one tier of utterances a speaker."""

from pathlib import Path

from ssl_tt.data.annotation.utterance import Utterance, time, utterance
from ssl_tt.data.annotation.xml_tree import attribute, read_xml, where
from ssl_tt.errors import InputError


def read_elan(path: Path) -> list[Utterance]:
    """Annotations of the tiers that depend on no other, whose speaker is the tier's participant or else its name.

    An annotation counts as speech whatever is written in it, also nothing. InputError, with the line, for what is no
    ELAN file and for annotations without times.
    """
    root = read_xml(path, "an ELAN file", "ANNOTATION_DOCUMENT")
    times = {
        attribute(path, slot, "TIME_SLOT_ID"): time(slot.attrib["TIME_VALUE"], where(path, slot), 1e-3)
        for slot in root.iterfind("TIME_ORDER/TIME_SLOT")
        if "TIME_VALUE" in slot.attrib
    }
    found = []
    for tier in root.iterfind("TIER"):
        if tier.get("PARENT_REF") is not None:
            continue
        speaker = tier.get("PARTICIPANT") or attribute(path, tier, "TIER_ID")
        for annotation in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION"):
            here = where(path, annotation)
            slots = [attribute(path, annotation, f"TIME_SLOT_REF{number}") for number in (1, 2)]
            for slot in slots:
                if slot not in times:
                    raise InputError(f"{here}: time slot {slot!r} has no time: align the annotation in ELAN")
            found.append(utterance(here, times[slots[0]], times[slots[1]], speaker))
    return found
