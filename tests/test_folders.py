"""Where the cache lies: what others could have written is not used, and no machine is too bare."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from micrornn import folders
from micrornn.data import tokenize
from micrornn.errors import ConfigError
from micrornn.folders import cache_home, cache_trouble, expand, replacing, sweep

POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are those of POSIX")
ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary files of one's own, no home that could be made, nothing chosen."""
    temporary = tmp_path / "tmp"
    temporary.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for name in ("MICRORNN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    return temporary


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@POSIX
def test_without_a_home_the_cache_is_this_users_alone(bare: Path) -> None:
    shared = bare / f"micrornn-{os.getuid()}"
    assert cache_home() == cache_home() == shared and mode_of(shared) == 0o700
    assert "cannot be made (Not a directory)" in str(cache_trouble())


@POSIX
@pytest.mark.parametrize("trap", ["mode 777", "mode 720", "link", "file", "uid"])
def test_a_trap_among_the_temporary_files_is_not_used(trap: str, bare: Path, tmp_path: Path) -> None:
    shared = bare / f"micrornn-{os.getuid()}"
    if trap == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        shared.symlink_to(tmp_path / "elsewhere")
    elif trap == "file":
        shared.touch()
    else:
        shared.mkdir(mode=0o700)
        if trap == "uid":
            if os.geteuid() != 0:
                pytest.skip("only root gives files away")
            os.chown(shared, 23456, 23456)
        else:
            shared.chmod(int(trap[5:], 8))
    own = cache_home()
    assert own.parent == bare and own != shared and own.name.startswith("micrornn-") and mode_of(own) == 0o700
    assert cache_home() == own  # one for the whole process
    folders._remove(own, os.getpid() + 1)  # not by a child that was forked
    assert own.exists()
    folders._remove(own, os.getpid())
    assert not own.exists()


@POSIX
@pytest.mark.parametrize(
    "mode, why", [(0o777, "mode 777"), (0o775, "mode 775"), (0o1777, "mode 1777"), (0o755, None), (0o500, None)]
)
@pytest.mark.parametrize("variable", ["MICRORNN_CACHE", "XDG_CACHE_HOME"])
def test_a_chosen_folder_that_others_can_write(variable: str, mode: int, why: str | None, bare: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    chosen = tmp_path / "chosen" / "micrornn"
    chosen.mkdir(parents=True)
    chosen.chmod(mode)
    monkeypatch.setenv(variable, str(chosen if variable == "MICRORNN_CACHE" else chosen.parent))
    if why is None and os.access(chosen, os.W_OK):  # root writes everywhere
        assert cache_home() == chosen and cache_trouble() is None
    else:
        assert cache_home().parent == bare and (why or "cannot be written") in str(cache_trouble())


@ROOT
def test_a_chosen_folder_of_somebody_else(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    os.chown(theirs, 23456, 23456)
    monkeypatch.setenv("MICRORNN_CACHE", str(theirs))
    assert cache_home().parent == bare and "belongs to another user (uid 23456)" in str(cache_trouble())


@POSIX
def test_a_folder_that_everybody_may_replace(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open" / "cache").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "open" / "cache"))
    assert cache_home().parent == bare and "everybody may replace it" in str(cache_trouble())
    (tmp_path / "open").chmod(0o1777)  # as /tmp is
    assert cache_home() == tmp_path / "open" / "cache"


@POSIX
def test_folders_below_the_cache_are_checked_too(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))
    below = cache_home("kernels", "abc")
    assert below == tmp_path / "cache" / "kernels" / "abc" and mode_of(below) == mode_of(below.parent) == 0o700
    below.parent.chmod(0o777)
    assert cache_home("kernels", "abc").parent == bare


def test_nothing_can_be_written_anywhere(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.txt").write_text("it is read all the same")

    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert "nothing is kept" in str(cache_trouble()) and not cache_home("kernels").exists()
    assert (
        tokenize([tmp_path / "text.txt"], "char")[0:5].tolist()
        == tokenize([tmp_path / "text.txt"], "char")[:5].tolist()
    )


def test_a_command_without_home_and_passwd_entry(tmp_path: Path) -> None:
    program = """
import os, pwd
def unknown(uid): raise KeyError(uid)
pwd.getpwuid = unknown
from micrornn_cli.main import main
main(["info"])
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "MICRORNN_CACHE", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment | {"TMPDIR": str(tmp_path)}, cwd=tmp_path, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "this user has no home folder" in " ".join(done.stdout.split())
    assert not (tmp_path / "~").exists() and (tmp_path / f"micrornn-{os.getuid()}").is_dir()


@POSIX
def test_a_tilde_is_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("MICRORNN_CACHE", "~/here")
    assert cache_home() == tmp_path / "me" / "here" and not (tmp_path / "~").exists()
    assert expand("~") == str(tmp_path / "me") and expand("a~b") == "a~b" and expand("x/~") == "x/~"
    (tmp_path / "~draft").touch()
    assert expand("~draft") == "~draft"
    with pytest.raises(ConfigError, match=r"there is no user 'nobody-of-this-name'; write \./~"):
        expand("~nobody-of-this-name/x")
    monkeypatch.setenv("MICRORNN_CACHE", "~nobody-of-this-name/x")
    assert "no user" in str(cache_trouble())


def test_parts_of_killed_processes_are_removed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from micrornn.folders import replacing\n"
        "with replacing(Path(sys.argv[1], 'a')) as file: print(file.name, flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stdout.readline()
    (part,) = tmp_path.glob("a*.part")
    old = time.time() - 2 * folders.ABANDONED
    os.utime(part, (old, old))
    sweep(tmp_path)
    assert part.exists() or folders.fcntl is None  # a process that lives is at it, however slow
    writer.kill()
    writer.wait()
    (tmp_path / "b.part").touch()  # young: it may be somebody's in a moment
    (tmp_path / "c.tokens").touch()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.part", "c.tokens"]


def test_a_file_that_is_replaced_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"hal")
        1 / 0  # noqa: B018
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
