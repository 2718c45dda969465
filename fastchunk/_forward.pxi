# A read of whole server-sent events, passed on as bytes without returning to Python.


cdef class Forwarder(Recognizer):
    """Passes on what asks for no decision, and makes a table's changes to it."""

    cdef list values  # what the changes point into
    cdef Py_ssize_t limit, at
    cdef public bint ready
    cdef object done
    cdef Buffer out

    def __cinit__(self, Table table not None, values, Tally tally not None, Py_ssize_t limit):
        """Take the table and what becomes of each of its paths, as `splice` does."""
        self._begin(table, tally)
        self.limit = min(limit, 0x7FFFFFFF)
        self.values = list(values)
        table.read_changes(self.values, self.changes)
        self.ready = False
        self.done = b""

    def __dealloc__(self):
        PyMem_Free(self.out.data)

    def feed(self, data):
        """Take a read of whole events and return what leaves; None if some of it is for `rest`."""
        if not self.ready or type(data) is not bytes:
            return None
        out = self._forward(<bytes>data, 0)
        if self.at == PyBytes_GET_SIZE(<bytes>data):
            self.at = 0
            return out
        self.done, self.ready = out, False
        return None

    def rest(self):
        """Return what `feed` has passed on already, and how many bytes of the read that was."""
        done, at = self.done, self.at
        self.done, self.at = b"", 0
        self.ready = False
        return done, at

    def forward(self, bytes data not None, Py_ssize_t begin):
        """Pass events on from `begin` up to one that asks for a decision: what leaves, and where."""
        if not 0 <= begin <= PyBytes_GET_SIZE(data):
            raise IndexError(begin)
        out = self._forward(data, begin)
        at, self.at = self.at, 0
        return out, at

    def learn(self, bint is_chunk, bint is_withheld, set indexes not None, dict reasons not None):
        """Pass events on that are like the one that was left: all that it said was this."""
        cdef Known* known = self._learn((indexes, reasons))
        if known != NULL:
            known.is_chunk, known.is_withheld = is_chunk, is_withheld
            known.has_reasons = bool(reasons)

    cdef object _forward(self, bytes data, Py_ssize_t begin):
        cdef At base = <At>PyBytes_AS_STRING(data), p = base + begin, kept = p, next, document_end
        cdef At end = base + PyBytes_GET_SIZE(data)
        cdef Py_ssize_t chunks = 0, others = 0
        cdef Known* known
        cdef Like* like
        cdef const Piece* pieces
        cdef Block block
        cdef Walk walk
        cdef Shifts shifts
        cdef Span latest = Span(-1, -1)
        cdef At latest_base = base
        cdef int found, i, piece_count, latest_count
        cdef bint changed = False
        begin_walk(&walk, self.table, self.changes, base, end)
        walk.one_line = walk.noting = True
        shifts.count = 0
        self.out.length = 0
        self.unknown_length = -1
        while p < end:
            next = NULL
            for i in range(2):
                like = &self.like[self.newest ^ i]
                if like.length:
                    next = compare(like, p, end, &shifts)
                    if next != NULL:
                        break
            if next != NULL:
                if next - p > self.limit:
                    break
                found, known = like.known, self._known(like.known)
                self.newest ^= i
                pieces, piece_count = like.pieces, like.piece_count
                latest_count = like.latest_count
                if latest_count and known.is_chunk:
                    latest = like.latest
                    latest.begin = shifted(&shifts, latest.begin)
                    latest.end = shifted(&shifts, latest.end)
                    latest_base = p
            else:
                if not cut_block(p, end, &block) or block.next - p > self.limit:
                    break
                next = block.next
                if block.data == NULL:
                    p = next
                    continue
                if is_done(block.data, block.data_end):
                    others += 1
                    self.tally.done = True
                    p = next
                    continue
                walk.base, walk.end = p, block.data_end
                document_end = walk_document(&walk, block.data)
                if document_end == NULL:
                    break
                if block.event != NULL:
                    sign(&walk, EVENT, 0, block.event, block.event_end)
                found = self._find_known(&walk)
                if found < 0:
                    break
                known = self._known(found)
                if known.is_chunk and not self.table.add_missing(&walk, document_end):
                    self.unknown_length = -1
                    break
                shifts.count = 0
                pieces, piece_count = walk.pieces, walk.piece_count
                if walk.span_count and known.is_chunk:
                    latest, latest_base = walk.latest, p
                self._remember(&walk, p, next, found)
            if not known.is_chunk:
                others += 1
                p = next
                continue
            chunks += 1
            self._note(found)
            if known.is_withheld:
                if not append(&self.out, kept, p - kept):
                    raise MemoryError
                kept, changed = next, True
            elif piece_count:
                changed = True
                for i in range(piece_count):
                    if not append(&self.out, kept, p + shifted(&shifts, pieces[i].begin) - kept):
                        raise MemoryError
                    if not append_change(
                        &self.out, self.table, pieces[i].slot,
                        &self.changes[pieces[i].slot], pieces[i].action,
                    ):
                        raise MemoryError
                    kept = p + shifted(&shifts, pieces[i].end)
            p = next
        self.at = p - base
        self.tally.chunks += chunks
        self.tally.others += others
        if latest.begin >= 0:
            self.tally.usage_data = PyBytes_FromStringAndSize(
                <const char*>(latest_base + latest.begin), latest.end - latest.begin
            )
        if not changed:
            return data if begin == 0 and p == end else data[begin : self.at]
        if not append(&self.out, kept, p - kept):
            raise MemoryError
        made = PyBytes_FromStringAndSize(<const char*>self.out.data, self.out.length)
        if self.out.room > KEPT_BUFFER:
            PyMem_Free(self.out.data)
            memset(&self.out, 0, sizeof(Buffer))
        return made
