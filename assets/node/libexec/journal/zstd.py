"""Compression by libzstd, which every Debian has since dpkg needs it. Python has it from 3.14 on (PEP 784)."""
import ctypes

LEVEL = 3

library = ctypes.CDLL('libzstd.so.1')
for name, result, arguments in (
    ('ZSTD_compressBound', ctypes.c_size_t, [ctypes.c_size_t]),
    ('ZSTD_compress', ctypes.c_size_t, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]),
    ('ZSTD_isError', ctypes.c_uint, [ctypes.c_size_t]),
    ('ZSTD_getErrorName', ctypes.c_char_p, [ctypes.c_size_t]),
):
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments


def compress(content):
    """One frame; it holds the size of the content."""
    room = library.ZSTD_compressBound(len(content))
    buffer = ctypes.create_string_buffer(room)
    size = library.ZSTD_compress(buffer, room, content, len(content), LEVEL)
    if library.ZSTD_isError(size):
        raise OSError(f'zstd: {library.ZSTD_getErrorName(size).decode()}')
    return memoryview(buffer)[:size].tobytes()
