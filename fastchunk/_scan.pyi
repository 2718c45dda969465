from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ._scan_py import Decode, Made, Path, Value

class Table:
    paths: list[Path]
    roles: list[int]
    def __init__(self, paths: Sequence[Path], roles: Sequence[int] | None = None) -> None: ...

class Tally:
    chunks: int
    others: int
    done: bool
    usage_data: bytes | None
    indexes: set[int]
    finish_reasons: dict[int, str]
    def note(self, chunk: Any) -> None: ...

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
        silent: frozenset[type] | None = None,
    ) -> None: ...
    def feed(self, data: object) -> list[Any] | None: ...
    def rest(self) -> tuple[list[Any], int]: ...
    def read(self, data: bytes) -> Any: ...

def scan(data: bytes, table: Table) -> list[tuple[int, int, int]] | None: ...
def splice(data: bytes, table: Table, values: Sequence[Value]) -> bytes | None: ...
def splice_values(
    data: bytes,
    table: Table,
    values: dict[str, Any],
    encode: Callable[[Any], bytes],
    drop: object,
) -> bytes | None: ...
def guarded_decoder(fast: Decode, otherwise: Decode) -> Decode: ...
def cut_plain(whole: bytes) -> tuple[list[bytes], bytes] | None: ...
def plain_events(whole: bytes, make: Callable[[bytes], Made]) -> list[Made] | None: ...
