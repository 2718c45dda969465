# Events that say the same as one before: what they have in common, and whether one has it.


cdef struct Like:  # an event that others are compared with, and what was found in it
    uint8_t* data
    int32_t length, free_count, piece_count, known, latest_count
    Free free[MAX_FREE]
    Piece pieces[MAX_PIECES]
    Span latest
    int32_t text_count
    Span texts[MAX_TEXTS]


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

    What is not free is the same, byte for byte; what is free is passed as what the other one is, a
    string, a number or white space. So the document is JSON as the other one is, with the same
    keys.
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
        q = p
        if free.kind == A_STRING:
            q = string(p, end, &escaped)
            if q == NULL:
                return NULL
            q -= 1
        elif free.kind == A_NUMBER:
            q = number(p)
            if q == NULL:
                return NULL
        else:
            while q[0] == c' ':
                q += 1
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


cdef class Recognizer:
    """Knows what some events say, by their signatures, and compares others with the last two."""

    cdef Table table
    cdef Change changes[MAX_PATHS]
    cdef Tally tally
    cdef Known own[MAX_OWN]
    cdef list said  # what is known of each of one's own
    cdef int own_count, own_next
    cdef uint8_t noted[MAX_SHARED]  # whether the indexes of one that is shared have been noted
    cdef Like like[2]
    cdef int newest
    cdef uint8_t unknown[MAX_SIGNATURE]
    cdef int32_t unknown_length

    cdef int _begin(self, Table table, Tally tally) except -1:
        if table.nodes == NULL:
            raise OverflowError(f"more than {MAX_PATHS} paths")
        self.table, self.tally = table, tally
        self.said = [None] * MAX_OWN
        self.unknown_length = -1
        return 0

    def __dealloc__(self):
        cdef int i
        for i in range(MAX_OWN):
            PyMem_Free(self.own[i].data)
        for i in range(2):
            PyMem_Free(self.like[i].data)

    cdef Known* _learn(self, tuple said) except? NULL:
        """Make room for what was unknown, and for what it says; NULL if nothing was."""
        cdef Known* known
        cdef uint8_t* data
        cdef int i
        if self.unknown_length <= 0:
            return NULL
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
        known.is_chunk = True
        known.is_withheld = known.has_reasons = False
        known.has_text = known.is_left = known.does_nothing = False
        self.unknown_length = -1
        return known

    cdef inline Known* _known(self, int number) noexcept:
        if number < MAX_SHARED:
            return &self.table.shared[number]
        return &self.own[number - MAX_SHARED]

    cdef inline tuple _said(self, int number):
        return <tuple>(
            self.table.said[number] if number < MAX_SHARED else self.said[number - MAX_SHARED]
        )

    cdef int _note(self, int number) except -1:
        """Take note of what an event like one that is known says."""
        cdef tuple said
        if self._known(number).has_reasons or (number < MAX_SHARED and not self.noted[number]):
            if number < MAX_SHARED:
                self.noted[number] = True
            said = self._said(number)
            self.tally.indexes.update(said[0])
            self.tally.finish_reasons.update(said[1])
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
        like.text_count = walk.text_count
        memcpy(like.free, walk.free, walk.free_count * sizeof(Free))
        memcpy(like.pieces, walk.pieces, walk.piece_count * sizeof(Piece))
        memcpy(like.texts, walk.texts, walk.text_count * sizeof(Span))
        return like
