/*
 * What a fan-out brings to many sockets.
 *
 * An event loop's own write costs a tenth to a sixth of the system call that it makes. Here that is a loop around the
 * system call alone. Whatever a socket does not take at once is left to the event loop, faults included.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS; Python ignores SIGPIPE anyway */
#endif

static PyObject *short_of(PyObject *rest, Py_ssize_t position, Py_ssize_t taken)
{
    PyObject *pair = Py_BuildValue("(nn)", position, taken);
    if (pair == NULL || PyList_Append(rest, pair) < 0) {
        Py_XDECREF(pair);
        return NULL;
    }
    Py_DECREF(pair);
    return rest;
}

static PyObject *send_all(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    if (count != 2 || !PyList_CheckExact(arguments[0]) || !PyList_CheckExact(arguments[1]) ||
        PyList_GET_SIZE(arguments[0]) != PyList_GET_SIZE(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "send_all takes a list of descriptors and one, as long, of bytes");
        return NULL;
    }
    PyObject *descriptors = arguments[0];
    PyObject *rest = PyList_New(0);
    if (rest == NULL)
        return NULL;
    for (Py_ssize_t position = 0; position < PyList_GET_SIZE(descriptors); position++) {
        long descriptor = PyLong_AsLong(PyList_GET_ITEM(descriptors, position));
        if (descriptor == -1 && PyErr_Occurred())
            goto failed;
        PyObject *data = PyList_GET_ITEM(arguments[1], position);
        if (!PyBytes_CheckExact(data)) {
            PyErr_SetString(PyExc_TypeError, "send_all sends bytes");
            goto failed;
        }
        Py_ssize_t size = PyBytes_GET_SIZE(data);
        ssize_t taken = -1;
        if (descriptor >= 0)
            taken = send((int)descriptor, PyBytes_AS_STRING(data), (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken != size && short_of(rest, position, taken < 0 ? 0 : taken) == NULL)
            goto failed;
    }
    return rest;
failed:
    Py_DECREF(rest);
    return NULL;
}

static PyMethodDef methods[] = {
    {"send_all", (PyCFunction)(void (*)(void))send_all, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "hubwire.edge._fanout", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__fanout(void)
{
    return PyModuleDef_Init(&definition);
}
