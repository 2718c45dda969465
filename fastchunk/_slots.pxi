# Reads a Struct's fields where they lie. The ways of five attributes are a fifth of a short chunk.

cdef extern from *:
    """
    #include "structmember.h"
    static Py_ssize_t offset_in(PyObject *descriptor) {
        PyMemberDef *member;
        if (Py_TYPE(descriptor) != &PyMemberDescr_Type) return 0;
        member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX ? member->offset : 0;
    }
    static inline PyObject *value_at(PyObject *object, Py_ssize_t offset) {
        return *(PyObject **)((char *)object + offset);
    }
    """
    Py_ssize_t offset_in(PyObject*)
    PyObject* value_at(PyObject*, Py_ssize_t)


cdef struct Slots:  # where the fields of a type are
    PyObject* type  # borrowed: whoever holds this has to hold the type; NULL if they are not known
    Py_ssize_t offsets[3]


cdef int find_slots(Slots* slots, struct_type, tuple names) except -1:
    """Find where a type's fields are; it stays unknown if they are not in slots."""
    cdef int i = 0
    slots.type = NULL
    for name in names:
        descriptor = struct_type.__dict__.get(name)
        slots.offsets[i] = offset_in(<PyObject*>descriptor)
        if slots.offsets[i] == 0:
            return 0
        i += 1
    slots.type = <PyObject*>struct_type
    return 0


cdef inline bint is_of(object value, const Slots* slots) noexcept:
    return <PyObject*>Py_TYPE(value) == slots.type


cdef inline object slot(object value, const Slots* slots, int number):
    cdef PyObject* found = value_at(<PyObject*>value, slots.offsets[number])
    return UNSET if found == NULL else <object>found
