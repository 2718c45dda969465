# Events that say the same but for a text.

decode_text = Decoder(str).decode


cdef class Alike(Recognizer):
    """Recognizes events that say the same as one that was read, but for their text."""

    only_texts = False
    """Whether events without a text are never recognized."""
    cdef int number  # of what was found last
    cdef Span text, latest
    cdef int copies  # of the text
    cdef readonly bint asks
    """Whether what was looked for last is worth to be learned."""
    cdef public bint passes
    """Whether events to which nothing is done leave without a question."""

    def __cinit__(self, Table table not None, Tally tally not None, kinds=(), passing=()):
        """Take the table of what says something: `KIND` where only the kind of a value does.

        Its texts are those that `TEXT` paths lead to. An event with two that differ is not
        recognized. What nobody asks about may be anything, so that no keys need be named.
        """
        self._begin(table, tally)

    def find(self, bytes data not None):
        """Return what was learned of events such as this one, and its text; None if nothing was."""
        if not self._find(data):
            return None
        return self._said(self.number)[2], self._text(data)

    def note(self, bytes data not None):
        """Take note that the event that was found last has been passed on."""
        self._note_found(data)

    def rewrite(self, bytes data not None, bytes text not None, plan):
        """Put another text, encoded, into the event that was found last, as a plan says.

        None where it is to be edited.
        """
        cdef Py_ssize_t begin = self.text.begin - 1, end = self.text.end + 1, kept
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), length = PyBytes_GET_SIZE(text)
        cdef bytes made
        cdef char* out
        if not 0 <= begin < end <= size:
            raise ValueError("this is not the event that was found last")
        if self.copies or not plan.is_simple:
            return None
        kept = size - end
        made = PyBytes_FromStringAndSize(NULL, begin + length + kept)
        out = PyBytes_AS_STRING(made)
        memcpy(out, PyBytes_AS_STRING(data), begin)
        memcpy(out + begin, PyBytes_AS_STRING(text), length)
        memcpy(out + begin + length, PyBytes_AS_STRING(data) + end, kept)
        return made

    def learn(self, said, Tally tally not None, bytes data, str text not None, varying):
        """Learn what is to be known of events such as the one that was looked for.

        `said` is None where they are to be read, and false where nothing is done to them. `tally`
        is what they say of their stream.
        """
        cdef Known* known = self._learn((tally.indexes, tally.finish_reasons, said))
        self.asks = False
        if known != NULL:
            known.has_reasons, known.has_text = bool(tally.finish_reasons), bool(text)
            known.is_left = said is None
            known.does_nothing = said is not None and not said

    cdef bint _find(self, bytes data):
        cdef At begin = <At>PyBytes_AS_STRING(data), end = begin + PyBytes_GET_SIZE(data)
        cdef Like* like
        cdef Shifts shifts
        cdef Walk walk
        cdef int i
        self.asks = False
        for i in range(2):
            like = &self.like[self.newest ^ i]
            if like.length and compare(like, begin, end, &shifts) == end:
                if self._take(like, begin, &shifts):
                    self.newest ^= i
                    return not self._known(self.number).is_left
        if end - begin > 0x7FFFFFFF:
            return False
        self.unknown_length = -1
        begin_walk(&walk, self.table, self.changes, begin, end)
        walk.noting = True
        if walk_document(&walk, begin) == NULL:
            return False
        self.number = self._find_known(&walk)
        if self.number < 0:
            self.asks = self.unknown_length > 0
            return False
        self.text, self.copies = walk.text, walk.copies
        self.latest = walk.latest if walk.span_count else Span(0, 0)
        self._remember(&walk, begin, end, self.number)
        return not self._known(self.number).is_left

    cdef bint _take(self, const Like* like, At base, const Shifts* shifts) noexcept nogil:
        """Find the text of an event that is like one before; False if it has two that differ."""
        cdef const Span* old = &like.texts[0]
        cdef int32_t begin, end
        cdef int i
        self.text = self.latest = Span(0, 0)
        self.copies = 0
        for i in range(like.text_count):
            # From the quote on, or what an empty text was replaced by would be behind it.
            begin, end = shifted(shifts, old[i].begin - 1) + 1, shifted(shifts, old[i].end)
            if (begin == end) != (old[i].begin == old[i].end):
                return False
            if begin < end:
                if self.text.end == 0:
                    self.text = Span(begin, end)
                elif not is_same_text(base, &self.text, base + begin, base + end):
                    return False
                else:
                    self.copies += 1
        if like.latest_count:
            self.latest = Span(shifted(shifts, like.latest.begin), shifted(shifts, like.latest.end))
        self.number = like.known
        return True

    cdef object _text(self, bytes data):
        """Return the text of the event that was found."""
        cdef const char* begin = PyBytes_AS_STRING(data) + self.text.begin
        cdef Py_ssize_t size = self.text.end - self.text.begin
        if not self._known(self.number).has_text:
            return ""
        if memchr(begin, c'\\', size) == NULL:
            return PyUnicode_DecodeUTF8(begin, size, NULL)
        return decode_text(PyBytes_FromStringAndSize(begin - 1, size + 2))

    cdef int _note_found(self, bytes data) except -1:
        self.tally.chunks += 1
        self._note(self.number)
        if self.latest.end:
            self.tally.usage_data = data[self.latest.begin : self.latest.end]
        return 0
