"""What `Disk` promises, asked of the real disk and of the modelled one: the model may not be kinder than the world."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from batchctl import files, handles
from batchctl.errors import NoSpaceError, StorageError
from batchctl.files import Disk, FileKind, RealDisk, make_dirs, write_whole
from batchctl.handles import Bytes, RealAppendFile
from batchctl.together import ahead
from tests.doubles.disk import DIR, MemoryDisk


@pytest.fixture(params=["real", "modelled"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    if request.param == "real":
        return RealDisk()
    modelled = MemoryDisk()
    for folder in (*reversed(tmp_path.parents), tmp_path):
        modelled.names[str(folder)] = modelled.durable_names[str(folder)] = DIR
    return modelled


def make(disk: Disk, path: Path, data: bytes = b"") -> Path:
    handle = disk.open_append(path, create=True)
    handle.append(data)
    handle.close()
    return path


def test_append_grows_the_file_and_knows_its_size(disk: Disk, tmp_path: Path) -> None:
    path = make(disk, tmp_path / "a", b"one")
    handle = disk.open_append(path)
    handle.append(b"two")
    handle.append(memoryview(b"!"))
    handle.datasync()
    assert handle.size == 7
    handle.close()
    handle.close()
    assert disk.read(path) == b"onetwo!" == bytes(disk.map(path))


def test_what_close_has_to_tell_is_told_in_our_words(tmp_path: Path) -> None:
    handle = RealDisk().open_append(tmp_path / "f", create=True)
    os.close(handle._fd)  # as a network file system says there that there was no room
    with pytest.raises(StorageError, match="cannot close"):
        handle.close()
    handle.close()


@pytest.mark.parametrize("first", ["a chunk", "the sync"])
def test_what_closing_has_to_tell_does_not_hide_what_failed_before(tmp_path: Path, first: str) -> None:
    class Full(RealAppendFile):
        """Out of room; and closing it fails as well."""

        def append(self, data: Bytes) -> None:
            if first == "a chunk":
                self.fail()

        def datasync(self) -> None:
            self.fail()

        def fail(self) -> None:
            os.close(self._fd)
            raise NoSpaceError("no room", where=str(self.path))

    class FullDisk(RealDisk):
        def open_append(self, path: Path, *, create: bool = False) -> RealAppendFile:
            return Full(path, os.open(path, os.O_RDWR | os.O_CREAT))

    with pytest.raises(NoSpaceError, match="no room"):
        write_whole(FullDisk(), tmp_path / "f", chunks=[b"x"])


def test_write_back_changes_nothing(disk: Disk, tmp_path: Path) -> None:
    handle = disk.open_append(tmp_path / "f", create=True)
    handle.append(b"one")
    handle.write_back(0)
    handle.append(b"two")
    handle.write_back(3)
    handle.datasync()
    handle.close()
    assert disk.read(tmp_path / "f") == b"onetwo"


def test_append_range_copies_from_another_file(disk: Disk, tmp_path: Path) -> None:
    source = make(disk, tmp_path / "source", b"0123456789" * 1000)
    target = disk.open_append(tmp_path / "target", create=True)
    target.append(b"<")
    with disk.open_read(source) as opened:
        assert opened.size == 10_000
        target.append_range(opened, offset=5, length=9_000)
    target.append(b">")
    target.close()
    assert disk.read(tmp_path / "target") == b"<" + (b"0123456789" * 1000)[5:9005] + b">"


def test_overwrite_changes_bytes_not_the_size(disk: Disk, tmp_path: Path) -> None:
    path = make(disk, tmp_path / "a", b"0123456789")
    handle = disk.open_append(path)
    handle.overwrite(3, b"xyz")
    assert handle.size == 10
    handle.close()
    assert disk.read(path) == b"012xyz6789"


def test_truncate_cuts_and_appending_goes_on_there(disk: Disk, tmp_path: Path) -> None:
    path = make(disk, tmp_path / "a", b"0123456789")
    handle = disk.open_append(path)
    handle.truncate(4)
    handle.append(b"!")
    handle.close()
    assert disk.read(path) == b"0123!"


REFUSED: dict[str, Callable[[Disk, Path], Any]] = {
    "open what is not there": lambda disk, at: disk.open_append(at / "missing"),
    "create what is there": lambda disk, at: disk.open_append(at / "file", create=True),
    "read what is not there": lambda disk, at: disk.read(at / "missing"),
    "read past the end": lambda disk, at: disk.open_read(at / "file").__enter__().pread(0, 99),
    "rename what is not there": lambda disk, at: disk.replace(at / "missing", at / "other"),
    "sync a folder that is not there": lambda disk, at: disk.sync_dir(at / "missing"),
    "sync a file that is not there": lambda disk, at: disk.sync_file(at / "missing"),
    "create below nothing": lambda disk, at: disk.open_append(at / "missing" / "file", create=True),
    "use a closed handle": lambda disk, at: closed(disk, at).append(b"x"),
    "sync a closed handle": lambda disk, at: closed(disk, at).datasync(),
}


def closed(disk: Disk, at: Path) -> Any:
    handle = disk.open_append(at / "file")
    handle.close()
    return handle


@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_is_a_storage_error(disk: Disk, tmp_path: Path, attempt: Callable[[Disk, Path], Any]) -> None:
    make(disk, tmp_path / "file", b"content")
    with pytest.raises(StorageError) as caught:
        attempt(disk, tmp_path)
    assert not isinstance(caught.value, NoSpaceError)


def test_rename_new_never_replaces(disk: Disk, tmp_path: Path) -> None:
    one, two = make(disk, tmp_path / "one", b"1"), make(disk, tmp_path / "two", b"2")
    assert not disk.rename_new(one, two)
    assert (disk.read(one), disk.read(two)) == (b"1", b"2")
    assert disk.rename_new(one, tmp_path / "three")
    assert disk.stat(one) is None
    assert disk.read(tmp_path / "three") == b"1"


def test_replace_replaces(disk: Disk, tmp_path: Path) -> None:
    one, two = make(disk, tmp_path / "one", b"1"), make(disk, tmp_path / "two", b"2")
    disk.replace(one, two)
    assert disk.read(two) == b"1"
    assert disk.stat(one) is None


def test_folders_are_made_listed_and_removed(disk: Disk, tmp_path: Path) -> None:
    make_dirs(disk, tmp_path / "a" / "b")
    assert not disk.mkdir(tmp_path / "a")
    make(disk, tmp_path / "a" / "b" / "f")
    make(disk, tmp_path / "a" / "e")
    assert disk.listdir(tmp_path / "a") == ["b", "e"]
    assert disk.listdir(tmp_path / "nothing") == []
    disk.remove_tree(tmp_path / "a")
    disk.remove_tree(tmp_path / "a")
    disk.remove(tmp_path / "a")
    assert disk.stat(tmp_path / "a") is None


def test_stat_tells_kinds_apart(disk: Disk, tmp_path: Path) -> None:
    found = disk.stat(make(disk, tmp_path / "f", b"abc"))
    assert found is not None
    assert (found.kind, found.size, found.mode, found.uid) == (FileKind.FILE, 3, 0o600, os.geteuid())
    disk.mkdir(tmp_path / "d", mode=0o700)
    folder = disk.stat(tmp_path / "d")
    assert folder is not None
    assert (folder.kind, folder.mode) == (FileKind.DIRECTORY, 0o700)


def test_write_whole_replaces_and_leaves_nothing_behind(disk: Disk, tmp_path: Path) -> None:
    for text in (b"first", b"second"):
        write_whole(disk, tmp_path / "f", chunks=[text[:2], text[2:]])
        assert disk.read(tmp_path / "f") == text
    assert disk.listdir(tmp_path) == ["f"]


def test_one_lock_at_a_time(disk: Disk, tmp_path: Path) -> None:
    lock = disk.lock(tmp_path / "lock")
    assert lock is not None
    lock.write(b"me and more")
    lock.write(b"me")
    assert disk.read(tmp_path / "lock") == b"me"
    assert disk.lock(tmp_path / "lock") is None
    lock.release()
    again = disk.lock(tmp_path / "lock")
    assert again is not None
    again.release()
    assert disk.free_space(tmp_path) > 0


# --- what only the real disk can show ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, NoSpaceError), (errno.EDQUOT, NoSpaceError), (errno.EIO, StorageError)]
)
def test_a_failed_write_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StorageError]
) -> None:
    handle = RealDisk().open_append(tmp_path / "f", create=True)
    handle.append(b"good")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(number))
        with pytest.raises(StorageError) as caught:
            handle.append(b"bad")
    assert type(caught.value) is kind
    with pytest.raises(StorageError):
        handle.append(b"more")
    if kind is NoSpaceError:
        handle.truncate(handle.size)
        handle.append(b" again")
        assert (tmp_path / "f").read_bytes() == b"good again"
    else:
        with pytest.raises(StorageError):
            handle.truncate(handle.size)
    handle.close()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_failed_sync_ends_a_handle_and_is_never_lack_of_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    handle = RealDisk().open_append(tmp_path / "f", create=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(number))
        with pytest.raises(StorageError) as caught:
            handle.datasync()
    assert type(caught.value) is StorageError
    for use in (handle.datasync, lambda: handle.append(b"x"), lambda: handle.truncate(0)):
        with pytest.raises(StorageError):
            use()
    handle.close()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_refused_write_back_is_a_failed_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    handle = RealDisk().open_append(tmp_path / "f", create=True)
    handle.append(b"rows")
    with monkeypatch.context() as patch:
        patch.setattr(handles, "_written_back", lambda fd, start, length: number)
        with pytest.raises(StorageError) as caught:
            handle.write_back(0)
    assert type(caught.value) is StorageError
    for use in (handle.datasync, lambda: handle.write_back(0), lambda: handle.append(b"x")):
        with pytest.raises(StorageError):
            use()
    handle.close()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_kernel_that_cannot_write_back_early_writes_at_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(handles, "_written_back", lambda fd, start, length: number)
    test_write_back_changes_nothing(RealDisk(), tmp_path)


def failing(number: int) -> Callable[..., Any]:
    def fail(*args: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EOPNOTSUPP])
def test_append_range_without_the_kernels_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "copy_file_range", failing(number))
    test_append_range_copies_from_another_file(RealDisk(), tmp_path)


def test_rename_new_without_renameat2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_renameat2", lambda source, target: False)
    test_rename_new_never_replaces(RealDisk(), tmp_path)


def test_links_and_pipes_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    disk = RealDisk()
    for attempt in (disk.open_append, disk.open_read, disk.read, disk.lock, disk.sync_file):
        with pytest.raises(StorageError):
            attempt(tmp_path / "link")
    with pytest.raises(StorageError):
        disk.read(tmp_path / "pipe")
    found = disk.stat(tmp_path / "link")
    assert found is not None
    assert found.kind is FileKind.LINK


def test_who_asks_whether_there_is_a_lock_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    reader = os.open(path, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(reader, fcntl.LOCK_SH)
    asked = 0
    flock = fcntl.flock

    def leaves_at_the_second(fd: int, operation: int) -> None:
        nonlocal asked
        if operation & fcntl.LOCK_EX:
            asked += 1
            if asked == 2:
                os.close(reader)
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", leaves_at_the_second)
    lock = RealDisk().lock(path)
    assert lock is not None and asked == 2
    assert RealDisk().lock(path) is None
    lock.release()


def test_a_lock_whose_file_was_removed_as_it_was_taken_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before unlinks it and lets it go: we must not hold a file without a name while others lock a new one."""
    path = tmp_path / "lock"
    before = RealDisk().lock(path)
    assert before is not None
    flock = fcntl.flock

    def first_loses_its_name(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        before.release()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", first_loses_its_name)
    lock = RealDisk().lock(path)
    assert lock is not None
    assert RealDisk().lock(path) is None, "two hold it"
    lock.release()


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    handle: Any = RealDisk().open_append(tmp_path / "f", create=True)
    assert not os.get_inheritable(handle._fd)
    handle.close()


def test_steps_done_together_are_all_done(disk: Disk) -> None:
    done: list[int] = []
    disk.together([partial(done.append, number) for number in range(20)])
    assert sorted(done) == list(range(20))
    disk.together([])


def test_one_that_fails_is_raised_when_those_under_way_have_ended(disk: Disk) -> None:
    done: list[str] = []

    def fail() -> None:
        raise StorageError("this one")

    with pytest.raises(StorageError, match="this one"):
        disk.together([partial(done.append, "a"), fail, partial(done.append, "b")])
    before = list(done)
    disk.together([partial(done.append, "c")])
    assert done == [*before, "c"]  # nothing of the first call came later


def test_what_is_done_aside_is_done_in_order(disk: Disk) -> None:
    done: list[int] = []
    with disk.aside() as aside:
        for number in range(20):
            aside.do(partial(done.append, number))
    assert done == list(range(20))


def test_an_error_of_what_is_done_aside_is_raised_and_nothing_follows_it(disk: Disk) -> None:
    done: list[int] = []
    with pytest.raises(ZeroDivisionError), disk.aside() as aside:
        aside.do(lambda: done.append(1 // 0))
        aside.do(partial(done.append, 1))
    assert not done


@pytest.mark.parametrize("caught", [ZeroDivisionError, KeyboardInterrupt])
def test_after_an_error_of_the_caller_no_step_is_begun(caught: type[BaseException]) -> None:
    """The step under way explains the error, but for one that no step can have caused."""
    done: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def step() -> None:
        begun.set()
        go_on.wait()
        done.append(1 // 0)

    with pytest.raises(caught), RealDisk().aside() as aside:
        aside.do(step)
        aside.do(partial(done.append, 1))
        begun.wait()
        go_on.set()
        raise KeyboardInterrupt if caught is KeyboardInterrupt else OSError
    assert not done


def test_what_is_made_ahead_comes_in_order_and_its_error_is_raised(disk: Disk) -> None:
    found: list[int] = []
    with pytest.raises(ZeroDivisionError), disk.aside() as aside:
        found.extend(ahead(aside, (1 // (3 - number) for number in range(9))))
    assert found in ([0, 0, 1], [0, 0])
    with disk.aside() as aside:
        assert list(ahead(aside, iter("abc"))) == ["a", "b", "c"]


def test_an_error_that_was_waited_for_is_not_raised_again(disk: Disk) -> None:
    """Whoever waited may have made another one of it."""
    with disk.aside() as aside, pytest.raises(ZeroDivisionError):
        aside.do(lambda: print(1 // 0))
        aside.wait()


def test_without_a_thread_steps_are_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    done: list[int] = []
    with RealDisk().aside() as aside:
        aside.do(partial(done.append, 1))
        assert done == [1]
