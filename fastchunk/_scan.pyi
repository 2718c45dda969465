from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from ._scan_py import Add, Decode, Edit, Lists, Look, LookAlike, Made, Notes, Path, Plan, Value

class Table:
    paths: list[Path]
    roles: list[int]
    def __init__(
        self,
        paths: Sequence[Path],
        roles: Sequence[int] | None = None,
        text_keys: Collection[str] = (),
    ) -> None: ...

class Tally:
    chunks: int
    others: int
    done: bool
    usage_data: bytes | None
    indexes: set[int]
    finish_reasons: dict[int, str]
    def note(self, chunk: Any) -> None: ...

class Deltas:
    def __init__(
        self,
        event_type: type[Struct],
        pieces: Mapping[type[Struct], str],
        quiet: Collection[type] = (),
    ) -> None: ...

class Forwarder:
    ready: bool
    def __init__(self, table: Table, values: Iterable[Value], tally: Tally, limit: int) -> None: ...
    def feed(self, data: object) -> bytes | None: ...
    def rest(self) -> tuple[bytes, int]: ...
    def forward(self, whole: bytes, begin: int) -> tuple[bytes, int]: ...
    def learn(
        self,
        is_chunk: bool,
        is_withheld: bool,
        indexes: set[int],
        reasons: dict[int, str],
    ) -> None: ...

class Reader:
    ready: bool
    def __init__(
        self,
        decode: Callable[[bytes], Any],
        tally: Tally,
        limit: int,
        notes: Notes | None = None,
    ) -> None: ...
    def feed(self, data: object) -> list[Any] | None: ...
    def rest(self) -> tuple[list[Any], int]: ...
    def forward(self, whole: bytes, begin: int) -> tuple[list[Any], int]: ...
    def read(self, data: bytes) -> Any: ...

class Alike:
    only_texts: bool
    asks: bool
    passes: bool
    def __init__(
        self,
        table: Table,
        tally: Tally,
        kinds: Collection[str] = (),
        passing: Collection[str] = (),
    ) -> None: ...
    def find(self, data: bytes) -> tuple[Any, str] | None: ...
    def note(self, data: bytes) -> None: ...
    def rewrite(self, data: bytes, text: bytes, plan: Plan) -> bytes | None: ...
    def learn(
        self, said: object, tally: Tally, data: bytes, text: str, varying: Collection[str]
    ) -> None: ...

class Looker:
    ready: bool
    def __init__(
        self,
        reader: Reader,
        look: Look,
        limit: int,
        alike: Alike | None = None,
        look_alike: LookAlike | None = None,
    ) -> None: ...
    def feed(self, data: object) -> bytes | None: ...
    def rest(self) -> tuple[bytes, int]: ...
    def forward(self, whole: bytes, begin: int) -> tuple[bytes, int]: ...

def scan(data: bytes, table: Table) -> list[tuple[int, int, int]] | None: ...
def is_plain(data: bytes, table: Table | None = None) -> bool: ...
def iterate(
    reads: Iterator[Any],
    reader: Reader | None,
    take: Callable[[Any], list[Any]],
    end: Callable[[], list[Any]],
    tally: Tally,
) -> Iterator[Any]: ...
def splice(data: bytes, table: Table, values: Sequence[Value]) -> bytes | None: ...
def quick_editor(
    table_of: Callable[[tuple[str, ...]], Table],
    encode: Callable[[Any], bytes],
    drop: object,
    otherwise: Edit,
) -> Edit: ...
def gatherer(deltas: Deltas, lists: Lists, otherwise: Add) -> Add: ...
def guarded_decoder(fast: Decode, otherwise: Decode) -> Decode: ...
def cut_plain(whole: bytes) -> tuple[list[bytes], bytes] | None: ...
def plain_events(
    whole: bytes, make: Callable[..., Made], last_id: str = ""
) -> list[Made] | None: ...
