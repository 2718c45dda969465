# A read of whole server-sent events, passed on as bytes without returning to Python.


cdef struct Like:  # an event that others are compared with, and what was found in it
    uint8_t* data
    int32_t length, free_count, piece_count, known, latest_count
    Free free[MAX_FREE]
    Piece pieces[MAX_PIECES]
    Span latest


cdef struct Shift:  # from `at` on, things are `by` bytes further on than in the other event
    int32_t at, by


cdef struct Shifts:
    int count
    Shift shift[MAX_SHIFTS]


cdef inline Py_ssize_t same_length(At a, At b, Py_ssize_t most) noexcept nogil:
    """Return for how many bytes two places are the same, `most` at most."""
    cdef Py_ssize_t n = 0
    while n + 8 <= most and eight(a + n) == eight(b + n):
        n += 8
    while n < most and a[n] == b[n]:
        n += 1
    return n


cdef At compare(const Like* like, At p, At end, Shifts* shifts) noexcept nogil:
    """Pass a block that differs from another in free values alone; NULL if it does not.

    What is not free is the same, byte for byte; each value that is not is passed as what the other
    one is, a string or a number. So the document is JSON as the other one is, with the same keys.
    """
    cdef At a = like.data, a_end = a + like.length, q
    cdef const Free* free = &like.free[0]
    cdef const Free* last = free + like.free_count
    cdef Py_ssize_t same
    cdef int32_t at, by = 0
    cdef bint escaped
    shifts.count = 0
    while True:
        same = same_length(a, p, min(a_end - a, end - p))
        a += same
        if a == a_end:
            return p + same
        if p + same == end:
            return NULL
        at = <int32_t>(a - like.data)
        while free < last and free.end < at:
            free += 1
        if free == last or free.begin > at or shifts.count == MAX_SHIFTS:
            return NULL
        p += same - (at - free.begin)
        if free.is_string:
            q = string(p, end, &escaped)
            if q == NULL:
                return NULL
            q -= 1
        else:
            q = number(p)
            if q == NULL:
                return NULL
        by += <int32_t>(q - p) - (free.end - free.begin)
        shifts.shift[shifts.count] = Shift(free.end, by)
        shifts.count += 1
        a = like.data + free.end
        p = q
        free += 1


cdef inline int32_t shifted(const Shifts* shifts, int32_t at) noexcept nogil:
    cdef int i = shifts.count
    while i and shifts.shift[i - 1].at > at:
        i -= 1
    return at + shifts.shift[i - 1].by if i else at


cdef inline bint is_signed(const Known* known, const Walk* walk) noexcept nogil:
    return known.length == walk.signature_length and (
        memcmp(known.data, walk.signature, known.length) == 0
    )


cdef class Forwarder:
    """Passes on what asks for no decision, and makes a table's changes to it."""

    cdef Table table
    cdef Change changes[MAX_PATHS]
    cdef list values  # what the changes point into
    cdef Tally tally
    cdef Py_ssize_t limit, at
    cdef public bint ready
    cdef object done
    cdef Known own[MAX_OWN]
    cdef list said  # of each of one's own
    cdef int own_count, own_next
    cdef uint8_t noted[MAX_SHARED]  # whether the indexes of one that is shared have been noted
    cdef Like like[2]
    cdef int newest
    cdef uint8_t unknown[MAX_SIGNATURE]
    cdef int32_t unknown_length
    cdef Buffer out

    def __cinit__(self, Table table not None, values, Tally tally not None, Py_ssize_t limit):
        """Take the table and what becomes of each of its paths, as `splice` does."""
        if table.nodes == NULL:
            raise OverflowError(f"more than {MAX_PATHS} paths")
        self.table, self.tally, self.limit = table, tally, min(limit, 0x7FFFFFFF)
        self.values = list(values)
        table.read_changes(self.values, self.changes)
        self.ready = False
        self.said = [None] * MAX_OWN
        self.unknown_length = -1
        self.done = b""

    def __dealloc__(self):
        cdef int i
        for i in range(MAX_OWN):
            PyMem_Free(self.own[i].data)
        for i in range(2):
            PyMem_Free(self.like[i].data)
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
        cdef Known* known
        cdef uint8_t* data
        cdef int i
        cdef tuple said = (indexes, reasons)  # made first: it may run a finalizer, or another thread
        if self.unknown_length <= 0:
            return
        data = <uint8_t*>PyMem_Malloc(self.unknown_length)
        if data == NULL:
            raise MemoryError
        memcpy(data, self.unknown, self.unknown_length)
        known = self.table.new_shared()
        if known != NULL:
            self.table.said.append(said)
            self.noted[self.table.shared_count] = True
            self.table.shared_count += 1
        else:
            known = &self.own[self.own_next]
            for i in range(2):
                if self.like[i].known == MAX_SHARED + self.own_next:
                    self.like[i].length = 0
            PyMem_Free(known.data)
            self.said[self.own_next] = said
            self.own_next = (self.own_next + 1) % MAX_OWN
            self.own_count = min(self.own_count + 1, MAX_OWN)
        known.data, known.length = data, self.unknown_length
        known.hash = hash_of(data, known.length)
        known.is_chunk, known.is_withheld, known.has_reasons = is_chunk, is_withheld, bool(reasons)
        self.unknown_length = -1

    cdef inline Known* _known(self, int number) noexcept:
        if number < MAX_SHARED:
            return &self.table.shared[number]
        return &self.own[number - MAX_SHARED]

    cdef int _note(self, int number) except -1:
        """Take note of what an event like one that is known says."""
        if number < MAX_SHARED:
            indexes, reasons = self.table.said[number]
            self.noted[number] = True
        else:
            indexes, reasons = self.said[number - MAX_SHARED]
        self.tally.indexes.update(indexes)
        self.tally.finish_reasons.update(reasons)
        return 0

    cdef int _find_known(self, Walk* walk) noexcept:
        cdef uint64_t value
        cdef int i
        if walk.signature_length <= 0:
            return -1
        value = hash_of(walk.signature, walk.signature_length)
        for i in range(self.table.shared_count):
            if self.table.shared[i].hash == value and is_signed(&self.table.shared[i], walk):
                return i
        for i in range(self.own_count):
            if self.own[i].hash == value and is_signed(&self.own[i], walk):
                return MAX_SHARED + i
        memcpy(self.unknown, walk.signature, walk.signature_length)
        self.unknown_length = walk.signature_length
        return -1

    cdef Like* _remember(self, Walk* walk, At p, At end, int known) noexcept:
        """Keep an event to compare the next ones with, in place of the older one."""
        cdef Like* like
        cdef uint8_t* data
        cdef Py_ssize_t length = end - p
        self.newest = 1 - self.newest
        like = &self.like[self.newest]
        like.length = 0
        if walk.free_count > MAX_FREE or length > MAX_LIKE:
            return NULL
        data = <uint8_t*>PyMem_Realloc(like.data, length)
        if data == NULL:
            return NULL
        like.data, like.length, like.known = data, <int32_t>length, known
        memcpy(data, p, length)
        like.free_count, like.piece_count = walk.free_count, walk.piece_count
        like.latest_count, like.latest = walk.span_count, walk.latest
        memcpy(like.free, walk.free, walk.free_count * sizeof(Free))
        memcpy(like.pieces, walk.pieces, walk.piece_count * sizeof(Piece))
        return like

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
            if known.has_reasons or (found < MAX_SHARED and not self.noted[found]):
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
