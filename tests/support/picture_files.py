"""Picture files as people have them: 16-bit PNGs, colour profiles, HEIC; made here, byte by byte."""

import io
import struct
import zlib
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Primaries: TypeAlias = tuple[float, float, float, float, float, float, float, float, float]
SRGB: Primaries = (0.4361, 0.2225, 0.0139, 0.3851, 0.7169, 0.0971, 0.1431, 0.0606, 0.7141)
DISPLAY_P3: Primaries = (0.5151, 0.2412, -0.0011, 0.2920, 0.6922, 0.0419, 0.1571, 0.0666, 0.7841)
ADOBE_RGB: Primaries = (0.6097, 0.3111, 0.0195, 0.2053, 0.6257, 0.0609, 0.1492, 0.0632, 0.7446)
"""Red, green and blue in XYZ under D50."""
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels to the colour type of PNG."""


def saved(picture: Image.Image | npt.NDArray[np.generic], kind: str = "PNG", **options: object) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, kind, **options)
    return file.getvalue()


def heic(picture: Image.Image, **options: object) -> bytes:
    """A picture as iPhones write it."""
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(picture).save(file, **options)  # pyright: ignore[reportUnknownMemberType]
    return file.getvalue()


def put(folder: Path, name: str, content: bytes) -> str:
    """Write a file, and give its path as text."""
    (folder / name).write_bytes(content)
    return str(folder / name)


def chunk(name: bytes, data: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_16_bits(values: npt.NDArray[np.integer], *between: bytes) -> bytes:
    """A PNG of 16 bits a channel: of shape (height, width) or with 2 to 4 channels, and chunks before its pixels."""
    height, width, *channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels[0] if channels else 1], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    middle = b"".join(between) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + chunk(b"IEND", b"")


def profile(primaries: Primaries, gamma: float | None = None, *, entries: int = 1024) -> bytes:
    """A colour profile (ICC 2.1) with these primaries and a power of the light, or sRGB's curve as a table."""
    if gamma is None:
        parts = np.linspace(0, 1, entries)
        light = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        curve = b"curv\0\0\0\0" + struct.pack(">I", entries) + (light * 65535 + 0.5).astype(">u2").tobytes()
    else:
        curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    tags = [(b"wtpt", _xyz(0.9642, 1.0, 0.8249))]
    tags += [(name, _xyz(*primaries[3 * i : 3 * i + 3])) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))]
    tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags:
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", place + len(body), b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header = header.ljust(36, b"\0") + b"acsp"
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(*parts: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(part * 65536) for part in parts))


def in_srgb(pixel: tuple[int, int, int], primaries: Primaries, gamma: float | None = None) -> npt.NDArray[np.float64]:
    """A pixel of another colour space in sRGB, 0 to 255, by the book (IEC 61966-2-1)."""
    parts = np.array(pixel) / 255
    light = (
        np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) if gamma is None else parts**gamma
    )
    ours = np.array(SRGB).reshape(3, 3).T
    linear = np.clip(np.linalg.inv(ours) @ np.array(primaries).reshape(3, 3).T @ light, 0, 1)
    return np.asarray(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255)


def gradient(height: int = 96, width: int = 128) -> npt.NDArray[np.uint16]:
    """Distances in millimetres from 800 to 5,000, growing downwards, with a hole that was not measured."""
    rows = np.linspace(800, 5000, height).astype(np.uint16)
    values = np.repeat(rows[:, None], width, axis=1)
    values[height // 4 : height // 2, width // 4 : width // 2] = 0
    return values
