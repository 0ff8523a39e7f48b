"""Generated source as a module: a file named by its contents, in the folder of compiled kernels."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from micrornn.folders import replacing


def module_of(name: str, text: str, folder: Path) -> ModuleType:
    """The module of this source. Its file keeps its time if it is there already: Numba looks at that when it looks for
    what it has compiled of it. Where the folder cannot be written to, a file for this process alone."""
    stem = f"{re.sub('[^a-zA-Z0-9_]', '_', name)[:40]}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    path = folder / f"{stem}.py"
    try:
        _write(path, text)
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="micrornn-"), f"{stem}.py")
        _write(path, text)
    specification = importlib.util.spec_from_file_location(f"micrornn_made.{stem}", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # Numba finds what it has kept by the module's name
    specification.loader.exec_module(module)
    return module


def _write(path: Path, text: str) -> None:
    if path.exists() and path.read_bytes() == text.encode():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, sync=False) as file:  # another process finds it whole, or not at all
        file.write(text.encode())
