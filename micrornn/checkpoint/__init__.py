"""Checkpoints and run folders: written atomically, resumable to the bit, no pickle.

save, load                     one checkpoint file: named arrays and a JSON-able `meta` (archive)
RunFolder, default_run_path    the folder of one training run, and a fresh path for it (folder)
JsonLines                      a file of JSON lines that survives a kill (rows)
Lock                           one process trains in a run folder at a time (lock)
read_file, write_atomically    what these stand on: a whole file or none (files)
toml_dumps, toml_loads         a flat table as TOML, and back (toml)
"""

from micrornn.checkpoint.archive import FORMAT_VERSION, load, save
from micrornn.checkpoint.files import StrPath, read_file, require_writable, write_atomically
from micrornn.checkpoint.folder import RunFolder, default_run_path
from micrornn.checkpoint.lock import Lock
from micrornn.checkpoint.rows import JsonLines
from micrornn.checkpoint.toml import toml_dumps, toml_loads

__all__ = [
    "FORMAT_VERSION", "JsonLines", "Lock", "RunFolder", "default_run_path", "load", "read_file", "require_writable",
    "save", "toml_dumps", "toml_loads", "write_atomically",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__
