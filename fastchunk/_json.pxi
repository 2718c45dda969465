# JSON's tokens. Each function takes the place where a token begins and returns the one behind it,
# or NULL if it is not plainly one.


cdef extern from *:
    """
    /* How many bytes of a little-endian word are before the first that is marked in `mask`. */
    #if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define unmarked_bytes(mask) (__builtin_ctzll(mask) >> 3)
    #else
    #define unmarked_bytes(mask) 0
    #endif
    """
    int unmarked_bytes(uint64_t mask) nogil


cdef inline uint64_t eight(At p) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, p, 8)
    return word


cdef inline uint64_t odd_bytes(uint64_t word) noexcept nogil:
    """Mark what ends the plain part of a string: a quote, a backslash, a control, no ASCII.

    The lowest mark is exact; a borrow may leave wrong ones above it.
    """
    cdef uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080
    cdef uint64_t quote = word ^ (ones * 0x22), backslash = word ^ (ones * 0x5C)
    return (
        word | (word - ones * 0x20) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)
    ) & tops


cdef inline int utf8_length(At p) noexcept nogil:
    """Return how many bytes the character at `p` has, which is not ASCII; 0 if it is no UTF-8."""
    if p[0] < 0xC2 or (p[1] & 0xC0) != 0x80:
        return 0
    if p[0] < 0xE0:
        return 2
    if (p[2] & 0xC0) != 0x80:
        return 0
    if p[0] < 0xF0:
        if (p[0] == 0xE0 and p[1] < 0xA0) or (p[0] == 0xED and p[1] >= 0xA0):
            return 0
        return 3
    if (p[3] & 0xC0) != 0x80 or p[0] > 0xF4:
        return 0
    return 0 if (p[0] == 0xF0 and p[1] < 0x90) or (p[0] == 0xF4 and p[1] >= 0x90) else 4


cdef inline bint is_utf8(At p, At end) noexcept nogil:
    cdef uint64_t tops = 0x8080808080808080
    cdef int length
    while True:
        while end - p >= 32 and not (eight(p) | eight(p + 8) | eight(p + 16) | eight(p + 24)) & tops:
            p += 32
        while end - p >= 8 and not eight(p) & tops:
            p += 8
        while p < end and p[0] < 0x80:
            p += 1
        if p >= end:
            return True
        while p[0] >= 0x80:
            length = utf8_length(p)
            if length == 0:
                return False
            p += length


cdef inline int hex4(At p) noexcept nogil:
    cdef int code = 0, i, c, lower
    for i in range(4):
        c = p[i]
        lower = c | 0x20
        if 0x30 <= c <= 0x39:
            code = code << 4 | (c - 0x30)
        elif 0x61 <= lower <= 0x66:
            code = code << 4 | (lower - 0x57)
        else:
            return -1
    return code


cdef At escape(At p) noexcept nogil:
    """Pass what follows a backslash; a surrogate has to be one of a pair."""
    cdef int code
    if p[0] != c'u':
        return p + 1 if p[0] in b'"\\/bfnrt' else NULL
    code = hex4(p + 1)
    if code < 0 or 0xDC00 <= code <= 0xDFFF:
        return NULL
    if not 0xD800 <= code <= 0xDBFF:
        return p + 5
    if p[5] != c'\\' or p[6] != c'u':
        return NULL
    return p + 11 if 0xDC00 <= hex4(p + 7) <= 0xDFFF else NULL


cdef inline At string(At p, At end, bint* escaped) noexcept nogil:
    """Pass a string, from behind its opening quote to behind its closing one."""
    cdef int length
    cdef uint64_t odd
    while True:
        while end - p >= 8:
            odd = odd_bytes(eight(p))
            if odd:
                p += unmarked_bytes(odd)
                break
            p += 8
        while 0x20 <= p[0] < 0x80 and p[0] != c'"' and p[0] != c'\\':
            p += 1
        if p[0] == c'"':
            return p + 1
        if p[0] == c'\\':
            escaped[0] = True
            p = escape(p + 1)
            if p == NULL:
                return NULL
        else:
            length = utf8_length(p) if p[0] >= 0x80 else 0
            if length == 0:
                return NULL
            p += length


cdef inline At digits(At p) noexcept nogil:
    cdef At begin = p
    while 0x30 <= p[0] <= 0x39:
        p += 1
    if p == begin:
        return NULL
    return p


cdef At number(At p) noexcept nogil:
    """Pass a number that is in the range of every float, and no longer than any that is meant."""
    cdef At begin = p, mark
    if p[0] == c'-':
        p += 1
    mark = p
    p = digits(p)
    if p == NULL or (mark[0] == c'0' and p - mark > 1) or p - mark > 40:
        return NULL
    if p[0] == c'.':
        p = digits(p + 1)
        if p == NULL or p - begin > 80:
            return NULL
    if (p[0] | 0x20) == c'e':
        p += 1
        if p[0] == c'+' or p[0] == c'-':
            p += 1
        mark = p
        p = digits(p)
        if p == NULL or p - mark > 2:
            return NULL
    return p


cdef inline At literal(At p, At end, const char* text, int length) noexcept nogil:
    return p + length if end - p >= length and memcmp(p, text, length) == 0 else NULL
