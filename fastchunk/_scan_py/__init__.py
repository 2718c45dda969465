"""The scanner in Python: exact, and as fast as msgspec's decoder and a search allow.

Its modules are divided as the files of the compiled one are.
"""

from .alike import Alike, LookAlike, Plan
from .forward import Forwarder
from .frame import DONE, Made, Tally, cut_plain, plain_events
from .gather import Add, Deltas, Lists, gatherer
from .read import Decode, Look, Looker, Notes, Reader, guarded_decoder, iterate, raising
from .splice import Edit, quick_editor, splice
from .table import FACT, IN_PLACE, KIND, LATEST, PLAIN, TEXT, Path, Table, Value
from .walk import Member, has_duplicates, is_plain, list_members, scan, scan_once, skip_gap

__all__ = [
    "DONE",
    "FACT",
    "IN_PLACE",
    "KIND",
    "LATEST",
    "PLAIN",
    "TEXT",
    "Add",
    "Alike",
    "Decode",
    "Deltas",
    "Edit",
    "Forwarder",
    "Lists",
    "Look",
    "LookAlike",
    "Looker",
    "Made",
    "Member",
    "Notes",
    "Path",
    "Plan",
    "Reader",
    "Table",
    "Tally",
    "Value",
    "cut_plain",
    "gatherer",
    "guarded_decoder",
    "has_duplicates",
    "is_plain",
    "iterate",
    "list_members",
    "plain_events",
    "quick_editor",
    "raising",
    "scan",
    "scan_once",
    "skip_gap",
    "splice",
]
