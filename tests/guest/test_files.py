"""The script's own files: whose they are, where they wait, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guest_driver import Server, Worker

from batchctl.guest import wire

HEAD = "import os\nOUT = os.environ['AZUREML_BI_OUTPUT_PATH']\nat = lambda *p: os.path.join(OUT, *p)\n"


def score(worker: Worker, first: int, *, batch: int = 0, attempt: int = 1) -> tuple[dict[str, str], dict[str, Any]]:
    """Score one item that leaves files: ({relative path: text}, SCORED_LONG's fields and rows)."""
    worker.lease((batch, first, 1, attempt))
    frame = worker.expect(wire.SCORED_LONG, wire.FAILED)
    fields = frame.json()
    assert frame.kind == wire.SCORED_LONG, fields
    folder = worker.server.root / "stage" / fields["staged"]
    found = {}
    for path, size in fields["files"]:
        text = (folder / path).read_text()
        assert len(text) == size
        found[path] = text
    on_disk = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert on_disk == sorted(found)
    return found, {**fields, "rows": frame.body}


def out(worker: Worker) -> list[str]:
    home = worker.server.root / "stage" / f"w{worker.incarnation}" / "out"
    return sorted(str(p.relative_to(home)) for p in home.rglob("*"))


def notes(worker: Worker) -> list[str]:
    return [frame.json()["text"] for frame in worker.frames if frame.kind == wire.NOTE]


def test_files_are_staged_under_the_lease(server: Server) -> None:
    script = (
        HEAD
        + """
n = 0
def run(b):
    global n
    n += 1
    os.makedirs(at("sub", "deep"), exist_ok=True)
    open(at("a %d.txt" % n), "w").write("top %d" % n)
    open(at("sub", "deep", "x.txt"), "w").write("deep %d" % n)
    return b
"""
    )
    worker = server.worker(script)
    for n in (1, 2, 3):
        files, fields = score(worker, 10 + n, batch=1, attempt=n)
        assert files == {f"a {n}.txt": f"top {n}", "sub/deep/x.txt": f"deep {n}"}
        assert fields["staged"] == f"{server.epoch}.{worker.incarnation}.1.{10 + n}.{n}"
        assert fields["rows"] == server.items[10 + n].encode() + b"\n"
        assert (fields["ok"], fields["n_rows"], fields["spill"]) == (1, 1, "")
        assert out(worker) == ["sub", "sub/deep"]


def test_mini_batches_with_and_without_files_alternate_at_full_speed(server: Server) -> None:
    # However coarse the file system's clock is: a file made in the tick of the last look must not be missed.
    script = (
        HEAD
        + """
os.mkdir(at("sub"))
def run(b):
    n = int(b[0][-3:])
    if n % 3:
        open(at("sub", "f") if n % 3 == 1 else at("f"), "w").write(b[0])
    return b
"""
    )
    worker = server.worker(script)
    worker.lease(*[(0, n, 1) for n in range(90)])
    seen: dict[int, list[Any]] = {}
    while len(seen) < 90:
        frame = worker.expect(wire.SCORED, wire.SCORED_LONG)
        if frame.kind == wire.SCORED:
            seen.update((record[2], []) for record in wire.scored_records(frame.head))
        else:
            fields = frame.json()
            folder = server.root / "stage" / fields["staged"]
            seen[fields["lease"][1]] = [(path, (folder / path).read_text()) for path, _ in fields["files"]]
    for n in range(90):
        path = {0: None, 1: "sub/f", 2: "f"}[n % 3]
        assert seen[n] == ([] if path is None else [(path, server.items[n])]), n


def test_files_of_a_failed_attempt_are_deleted(server: Server) -> None:
    script = (
        HEAD
        + """
def run(b):
    os.makedirs(at("sub"), exist_ok=True)
    for p in ("x", "sub/x"): open(at(p), "w").write(b[0])
    if b[0].endswith("1"): raise ValueError
    if b[0].endswith("2"): return None
    return b
"""
    )
    worker = server.worker(script)
    worker.fail(1)
    worker.fail(2)
    assert out(worker) == ["sub"]
    assert set(score(worker, 3)[0]) == {"x", "sub/x"}
    assert {p.name for p in (server.root / "stage").iterdir()} == {
        f"w{worker.incarnation}",
        f"{server.epoch}.{worker.incarnation}.0.3.1",
    }


def test_a_file_held_open_gives_each_mini_batch_its_own_lines(server: Server) -> None:
    script = (
        HEAD
        + """
handle = None
def run(b):
    global handle
    n = int(b[0][-1])
    handle = handle or open(at("log.jsonl"), "a")
    handle.write("line %d\\n" % n)
    handle.flush()
    if n == 3: raise ValueError
    if n == 5:
        handle.close()
        handle = None
    return b
"""
    )
    worker = server.worker(script)
    assert score(worker, 1)[0] == {"log.jsonl": "line 1\n"}
    assert score(worker, 2)[0] == {"log.jsonl": "line 2\n"}
    worker.fail(3)
    assert score(worker, 4)[0] == {"log.jsonl": "line 4\n"}
    assert score(worker, 5)[0] == {"log.jsonl": "line 5\n"}
    assert out(worker) == []
    assert score(worker, 6)[0] == {"log.jsonl": "line 6\n"}


def test_a_file_that_is_never_flushed_gives_each_mini_batch_its_own_lines(server: Server) -> None:
    script = (
        HEAD
        + """
def init():
    global text, raw
    text = open(at("text"), "w")
    text.write("of init\\n")
    raw = open(at("raw"), "wb")
def run(b):
    n = int(b[0][-1])
    text.write("line %d\\n" % n)
    raw.write(b"raw %d" % n)
    if n == 2: raise ValueError
    if n == 4: reopen()
    return b
def reopen():
    global text, closed
    closed = text
    text.close()
    text = open(at("text"), "a")
    text.write("reopened\\n")
def shutdown():
    text.write("of shutdown")
    text.close()
"""
    )
    worker = server.worker(script)
    assert score(worker, 1)[0] == {"text": "line 1\n", "raw": "raw 1"}
    worker.fail(2)
    assert score(worker, 3)[0] == {"text": "line 3\n", "raw": "raw 3"}
    assert score(worker, 4)[0] == {"text": "line 4\nreopened\n", "raw": "raw 4"}
    worker.stop()
    assert "shutdown() wrote to AZUREML_BI_OUTPUT_PATH: 'text'" in notes(worker)[-1]


def test_files_of_shutdown_are_nobodys(server: Server) -> None:
    script = (
        HEAD
        + """
import atexit
def init(): open(at("of-init"), "w").close()
def run(b):
    open(at("f"), "w").write(b[0])
    return b
def shutdown():
    os.makedirs(at("late"))
    open(at("late", "metrics"), "w").write("{}")
    atexit.register(lambda: open(at("later"), "w").close())
"""
    )
    worker = server.worker(script)
    assert score(worker, 0)[0] == {"f": server.items[0]}
    worker.stop()
    assert notes(worker) == [
        "init() wrote to AZUREML_BI_OUTPUT_PATH: 'of-init'; files of init() are not published",
        "shutdown() wrote to AZUREML_BI_OUTPUT_PATH: 'late/metrics', 'later'; files of shutdown() are not published",
    ]


def test_direct_files_are_left_where_the_script_writes_them(server: Server) -> None:
    home = server.root / "direct"
    home.mkdir()
    (home / "earlier").write_text("of another worker")
    script = (
        HEAD
        + """
def run(b):
    open(at("log"), "a").write(b[0][-1])
    if b[0].endswith("1"): raise ValueError
    return [open(at("earlier")).read()]
"""
    )
    worker = server.worker(script, out=str(home), own_files="direct")
    assert worker.one(0) == b"of another worker\n"
    worker.fail(1)
    worker.one(2)
    assert (home / "log").read_text() == "012"  # at least once: what failed has written too


def test_a_file_appended_to_by_name_gives_each_mini_batch_its_own_lines(server: Server) -> None:
    worker = server.worker(HEAD + "def run(b):\n    with open(at('log'), 'a') as f: f.write(b[0])\n    return b\n")
    for n in range(3):
        assert score(worker, n)[0] == {"log": server.items[n]}


def test_files_of_init_are_nobodys(server: Server) -> None:
    script = (
        HEAD
        + """
def init():
    os.mkdir(at("cache"))
    for p in ("cache/weights", "header.csv", "rewritten"): open(at(p), "w").write("from init\\n")
    open(at("large"), "w").write("x" * (2 << 20))
def run(b):
    n = int(b[0][-1])
    assert open(at("cache", "weights")).read() == "from init\\n"
    if n in (1, 2, 3): open(at("header.csv"), "a").write("row %d\\n" % n)
    if n == 2: raise ValueError
    if n == 4: open(at("rewritten"), "w").write("something longer than before")
    return b
"""
    )
    worker = server.worker(script)
    text = worker.expect(wire.NOTE).json()["text"]
    assert all(name in text for name in ("cache/weights", "header.csv", "rewritten", "large"))
    assert worker.one(0) == server.items[0].encode() + b"\n"
    assert score(worker, 1)[0] == {"header.csv": "row 1\n"}
    worker.fail(2)
    assert score(worker, 3)[0] == {"header.csv": "row 3\n"}
    assert score(worker, 4)[0] == {"rewritten": "something longer than before"}
    assert worker.one(5) == server.items[5].encode() + b"\n"
    assert out(worker) == ["cache", "cache/weights", "header.csv", "large"]


def test_links_and_pipes_stay_and_are_named_once(server: Server) -> None:
    secret = server.root / "secret"
    secret.mkdir()
    (secret / "x").write_text("not yours")
    script = (
        HEAD
        + f"""
def run(b):
    if not os.path.lexists(at("link")):
        os.symlink({str(secret)!r}, at("link"))
        os.mkfifo(at("pipe"))
    open(at("file"), "w").write("mine")
    return b
"""
    )
    worker = server.worker(script)
    for n in range(3):
        assert score(worker, n)[0] == {"file": "mine"}
    assert len(notes(worker)) == 1
    assert "no regular file" in notes(worker)[0]
    assert (secret / "x").read_text() == "not yours"


def test_output_folder_removed_by_the_script(server: Server) -> None:
    script = (
        HEAD
        + """
import shutil
def run(b):
    if b[0][-1] == "1": shutil.rmtree(OUT)
    else: open(at("f"), "w").write("x")
    return b
"""
    )
    worker = server.worker(script)
    assert score(worker, 0)[0] == {"f": "x"}
    assert worker.one(1) == server.items[1].encode() + b"\n"
    assert score(worker, 2)[0] == {"f": "x"}


def test_long_rows_and_files_together(server: Server) -> None:
    script = HEAD + "def run(b):\n    open(at('f'), 'w').write('x')\n    return ['y' * 100]\n"
    files, fields = score(server.worker(script, spill_over=50), 0)
    assert files == {"f": "x"}
    assert (server.root / "spill" / fields["spill"]).read_bytes() == b"y" * 100 + b"\n"
    assert fields["rows"] == b""


def test_too_many_files_fail_the_attempt_and_leave_nothing(server: Server) -> None:
    script = (
        HEAD
        + """
def run(b):
    if len(b) > 1:
        for n in range(9000): open(at("x" * 120 + str(n)), "w").close()
    return b
"""
    )
    worker = server.worker(script)
    assert "9000 files" in worker.fail(0, 2)["message"]
    assert [p.name for p in (server.root / "stage").iterdir()] == [f"w{worker.incarnation}"]
    assert worker.one(1) == server.items[1].encode() + b"\n"


def test_names_that_are_not_utf8(server: Server) -> None:
    worker = server.worker(HEAD + "def run(b):\n    open(at('f\\udcff'), 'w').write('x')\n    return b\n")
    worker.lease((0, 0, 1))
    fields = worker.expect(wire.SCORED_LONG).json()
    assert fields["files"] == [["f\udcff", 1]]
    assert (Path(server.root) / "stage" / fields["staged"] / "f\udcff").exists()
