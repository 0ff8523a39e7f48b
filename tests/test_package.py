"""What a wheel holds: both packages, every module, their type marks, and nothing else at the top."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from micrornn.learn import PAGES

ROOT = Path(__file__).parents[1]


def test_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"  # a copy: building leaves folders behind
    kept = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("micrornn", "cli", "docs/learn"):
        shutil.copytree(ROOT / folder, source / folder, ignore=kept)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"micrornn", "micrornn_cli"}
    modules = {str(path.relative_to(source)) for path in (source / "micrornn").rglob("*.py")}
    modules |= {str(path.relative_to(source / "cli")) for path in (source / "cli").rglob("*.py")}
    pages = {"micrornn/report/page.css", "micrornn/report/page.js"}
    pages |= {str(path.relative_to(source)) for path in (source / "micrornn" / "recipes").glob("*.toml")}
    assert "micrornn/recipes/echo.toml" in pages
    course = {f"micrornn/learn/pages/{page.file}.md" for page in PAGES}  # docs/learn: `micrornn learn show` prints them
    pages |= course
    assert len(course) == 6
    assert names == modules | pages | {"micrornn/py.typed", "micrornn_cli/py.typed"}
