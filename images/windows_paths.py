"""What takes the place of folder descriptors where there are none (Windows): names that mean no file, and open handles.

Sources: Microsoft, "Naming Files, Paths, and Namespaces" and `GetFinalPathNameByHandleW`.
"""

import os
import re
import stat
import sys
from pathlib import Path

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\..*)?", re.IGNORECASE)
_NOT_IN_A_NAME = re.compile(r'[\x00-\x1f<>:"/\\|?*]|[. ]$')
"""A colon starts a stream behind a file, and dots and spaces at the end are dropped: one file then has many names."""


def is_plain_name(name: str) -> bool:
    """Whether a name means one file on Windows, and no device, stream, pattern or other spelling of a file."""
    return not _NOT_IN_A_NAME.search(name) and not _DEVICE.fullmatch(name)


def is_link(status: os.stat_result) -> bool:
    """Whether `lstat` found a symbolic link or, on Windows, any other reparse point (junctions, mounted folders)."""
    reparse = getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0x400)
    return stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_file_attributes", 0) & reparse)


def without_prefix(name: str) -> str:
    r"""A path as the system spells it, without the `\\?\` that it puts in front."""
    if name.startswith("\\\\?\\UNC\\"):
        return "\\\\" + name.removeprefix("\\\\?\\UNC\\")
    return name.removeprefix("\\\\?\\")


if sys.platform == "win32":

    def final_path(descriptor: int) -> Path:
        """Where an open file really is, asked of its handle: no link and no swap can lie about that.

        Raises:
            OSError: The system does not tell.
        """
        import ctypes
        import msvcrt

        name = ctypes.create_unicode_buffer(32768)
        handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
        length = ctypes.windll.kernel32.GetFinalPathNameByHandleW(handle, name, len(name), 0)
        if not 0 < length < len(name):
            raise ctypes.WinError()
        return Path(without_prefix(name.value))

else:

    def final_path(descriptor: int) -> Path:
        """As on Windows, for the tests on Linux; a system without `/proc` has folder descriptors.

        Raises:
            OSError: The system does not tell.
        """
        return Path(f"/proc/self/fd/{descriptor}").readlink()
