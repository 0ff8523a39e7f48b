"""One checkpoint file: named arrays and a JSON-able `meta`.

A checkpoint file is a line `micrornn checkpoint 1` with the format version; a line with the sha256, in hex,
of all that follows; and an uncompressed npz. In that, arr_0 is JSON (utf-8 as uint8) {"meta": ..., "names":
[...]}, and arr_1, arr_2, ... are the arrays, in the order of `names`. The names do not stand in the npz
itself, so that any string is a name: an npz mistakes `a.npy` for `a`.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from micrornn.checkpoint.files import StrPath, read_file, write_atomically
from micrornn.errors import CheckpointError, counted, named, quoted
from micrornn.schema import Rule, check_table

FORMAT_VERSION = 1
_MAGIC = b"micrornn checkpoint "
_VERSION_LINE = re.compile(re.escape(_MAGIC) + rb"([1-9][0-9]{0,8})\n")
_HEADER = {"meta": Rule(dict), "names": Rule(list, items=Rule(str))}
_NPY = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def save(path: StrPath, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write `arrays` (any names, shapes and plain dtypes, no objects) and `meta` (JSON-able) to `path`, atomically.

    Floats in `meta` come back to the bit, NaN and infinities too; tuples come back as lists, NumPy scalars
    as Python's. Needs memory for one more copy of the arrays. Raises CheckpointError where the file cannot be
    written; what was at `path` is then still whole.
    """
    write_atomically(path, encode(arrays, meta))


def load(path: StrPath) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save` wrote: (arrays, meta). Each array is C-contiguous and writable.

    Raises CheckpointError for a file that is missing, something else, newer, truncated, or one byte off; and for one
    with a checksum that fits and contents that `save` does not write. Takes no more memory than three times the file.
    """
    payload = _checked_payload(path, read_file(path))
    try:
        members = _members(payload)
        header = check_table(json.loads(members.pop(0).tobytes()), _HEADER, "its header", CheckpointError)
        names = header["names"]
        if len(set(names)) != len(members):
            raise CheckpointError(f"it names {counted(len(names), 'array')} and holds {len(members):,}")
        return dict(zip(names, members)), header["meta"]
    except MemoryError:
        raise
    except Exception as error:  # zip, npy and JSON have their own ways to fail, each with other exceptions
        what = " ".join(str(error).split())[:200] or type(error).__name__
        told = f"its checksum fits, but it was not written by micrornn: {what}"
        raise CheckpointError(f"{named(path)}: {told}.\nUse another checkpoint.") from error


def _members(payload: memoryview) -> list[np.ndarray]:
    """arr_0, arr_1, ... of an npz. ValueError for one that is compressed, encrypted, or larger than it can be."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > len(payload):
            raise ValueError("its arrays are larger than the file")
        arrays = []
        for number in range(len(entries)):
            entry = archive.getinfo(f"arr_{number}.npy")
            if entry.compress_type != zipfile.ZIP_STORED:  # a few bytes could become any number
                raise ValueError("its arrays are compressed")
            arrays.append(npy_array(archive.read(entry)))
        return arrays


def npy_array(data: bytes) -> np.ndarray:
    """The array in the bytes of an npy file; none is allocated whose size is not that of the bytes."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in _NPY:
        raise ValueError(f"npy format {quoted(version)}")
    shape, fortran, dtype = _NPY[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    size = math.prod(shape) * dtype.itemsize
    if size != len(data) - file.tell():
        raise ValueError(f"an array of {quoted(shape)} {dtype} in {counted(len(data), 'byte')}")
    rest = memoryview(data)[file.tell() :] if size else bytes(dtype.itemsize)
    return np.ndarray(shape, dtype, rest, order="F" if fortran else "C").copy(order="C")


def encode(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> list[bytes | memoryview]:
    """The bytes of a checkpoint, in parts."""
    header = json.dumps({"meta": dict(meta), "names": list(arrays)}, default=plain).encode()
    # order="C" and not np.ascontiguousarray, which makes a 0-d array 1-d.
    ordered = [np.asarray(array, order="C") for array in arrays.values()]
    if any(array.dtype.hasobject for array in ordered):  # savez would pickle it
        raise TypeError("a checkpoint holds no arrays of Python objects")
    buffer = io.BytesIO()
    np.savez(buffer, np.frombuffer(header, np.uint8), *ordered)
    payload = buffer.getbuffer()
    return [_MAGIC + b"%d\n" % FORMAT_VERSION, _digest_line(payload), payload]


def _digest_line(payload: memoryview) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode() + b"\n"


def _checked_payload(path: StrPath, data: bytes) -> memoryview:
    """The npz inside `data`, the bytes of the file at `path`, once every byte of it is known to be right."""
    if not is_checkpoint(data):
        weights = "; weights alone are for load_weights" if data.startswith(b"PK") else ""
        raise CheckpointError(f"{named(path)}: not a micrornn checkpoint{weights}. Check the path.")
    if version_line := _VERSION_LINE.match(data):
        if (found := int(version_line[1])) > FORMAT_VERSION:
            reason = f"of checkpoint format {found}; this micrornn reads up to {FORMAT_VERSION}"
            raise CheckpointError(f"{named(path)}: {reason}.\nUpgrade: pip install -U micrornn")
        start = version_line.end() + 65  # 64 hex digits and the newline
        payload = memoryview(data)[start:]
        if data[version_line.end() : start] == _digest_line(payload):
            return payload
    whole = data[-22:-18] == b"PK\x05\x06"  # so a zip file's last record begins
    what = "its bytes do not match its checksum" if whole else "truncated, its end is missing"
    raise CheckpointError(f"{named(path)}: damaged: {what}.\nUse another checkpoint, or train again.")


def is_checkpoint(data: bytes) -> bool:
    """Whether these bytes begin as a checkpoint does; its beginning alone, and no bytes at all, count, too."""
    return data.startswith(_MAGIC) or _MAGIC.startswith(data)


def plain(value: object) -> object:
    """For json.dumps: a NumPy scalar as Python's."""
    if isinstance(value, np.generic):  # a scalar, which json does not know
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
