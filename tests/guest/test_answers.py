"""What the worker answers: rows and counts, failures as data, spills, voids, columns, the page."""

from __future__ import annotations

import os
import time
import zlib

import pytest
from guest_driver import Server

from batchctl.guest import page as pages
from batchctl.guest import wire

ECHO = "def run(mini_batch):\n    return mini_batch\n"


def names(server: Server, first: int, count: int) -> bytes:
    return "".join(item + "\n" for item in server.items[first : first + count]).encode()


def test_many_leases_in_one_frame_come_back_in_order(server: Server) -> None:
    worker = server.worker(ECHO)
    before = time.monotonic_ns()
    serials = worker.lease(*[(i, i * 10, 10) for i in range(10)] * 30)
    found = worker.scored(300)
    assert [record[0] for record, _ in found] == serials
    for record, rows in found:
        _serial, batch, first, count, attempt, length, crc, n_rows, ok, run_ns, busy_ns = record
        assert (first, count, attempt, n_rows, ok) == (batch * 10, 10, 1, 10, 10)
        assert rows == names(server, first, 10)
        assert (length, crc) == (len(rows), zlib.crc32(rows))
        assert 0 < run_ns <= busy_ns < time.monotonic_ns() - before


def test_a_result_never_waits_for_a_worker_that_waits(server: Server) -> None:
    worker = server.worker(ECHO, linger_ms=3_600_000)
    worker.lease(*[(0, 0, 1)] * 3)
    assert len(worker.scored(3)) == 3


@pytest.mark.parametrize(
    ("returned", "rows", "n_rows", "ok"),
    [
        ("[]", b"", 0, 0),
        ("mini_batch[:2]", None, 2, 2),
        ("['x'] * 7", b"x\n" * 7, 7, 5),
        ("('a', 1, None)", b"a\n1\nNone\n", 3, 3),
        ("(str(i) for i in range(3))", b"0\n1\n2\n", 3, 3),
        ("[{'file': 'a', 'p': 0.5}, b'x', ('a', 1)]", b"{'file': 'a', 'p': 0.5}\nb'x'\n('a', 1)\n", 3, 3),
    ],
)
def test_returns(server: Server, returned: str, rows: bytes | None, n_rows: int, ok: int) -> None:
    worker = server.worker(f"def run(mini_batch):\n    return {returned}\n")
    worker.lease((0, 0, 5))
    record, found = worker.scored()[0]
    assert (found, record[7], record[8]) == (names(server, 0, 2) if rows is None else rows, n_rows, ok)


def test_oddities_are_noted_once(server: Server) -> None:
    worker = server.worker("def run(b):\n    yield from b\n    yield 'more'\n")
    for _ in range(3):
        worker.one()
    texts = [frame.json()["text"] for frame in worker.frames]
    assert ["generator" in text for text in texts] == [True, False]
    assert "2 rows for 1 items" in texts[1]


@pytest.mark.parametrize("value", ["None", "'text'", "{'a': 1}", "{1}", "3", "iter([1])", "b'x'"])
def test_refused_returns(server: Server, value: str) -> None:
    worker = server.worker(f"def run(mini_batch):\n    return {value}\n")
    found = worker.fail(attempt=3)
    assert found["error"] == "ContractError"
    assert "should return a list or a DataFrame" in found["message"]
    assert found["lease"] == [0, 0, 1, 3]
    assert found["serial"] == 1


RAISES = {
    "ValueError": ("raise ValueError('bad é')", "ValueError", "bad é"),
    "SystemExit": ("raise SystemExit(3)", "SystemExit", "3"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
    "own class": ("raise Mine('own')", "score.Mine", "own"),
    "long": ("raise ValueError('x' * 1000000)", "ValueError", None),
    "no message": ("raise Mute()", "score.Mute", "<its message cannot be had: __str__ raised RuntimeError>"),
    "recursion": ("run(mini_batch)", "RecursionError", None),
    "surrogate": ("raise ValueError('\\udcff')", "ValueError", "\udcff"),
    "in a generator": ("return (1 / 0 for _ in 'a')", "ZeroDivisionError", "division by zero"),
    "in format": ("return [Hostile()]", "ZeroDivisionError", "division by zero"),
    "unencodable": ("return ['\\ud800']", "UnicodeEncodeError", None),
}


@pytest.mark.parametrize("case", RAISES)
def test_exceptions_are_data_and_the_worker_goes_on(server: Server, case: str) -> None:
    statement, error, message = RAISES[case]
    script = f"""
class Mine(Exception): pass
class Mute(Exception):
    def __str__(self): raise RuntimeError
class Hostile:
    def __format__(self, spec): return str(1 / 0)
calls = 0
def run(mini_batch):
    global calls
    calls += 1
    if calls > 1 and {case != "recursion"} or len(mini_batch) == 2:
        return mini_batch
    {statement}
"""
    worker = server.worker(script)
    found = worker.fail()
    assert found["error"] == error
    assert message is None or found["message"] == message
    assert len(found["message"]) <= 8 << 10
    assert len(found["traceback"]) <= 64 << 10
    assert "_batchctl_guest" not in found["traceback"]
    if case == "ValueError":
        lines = found["traceback"].splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[1].endswith('score.py", line 13, in run')
        assert lines[-1] == "ValueError: bad é"
    assert found["phase"] == ("render" if case in ("in format", "unencodable") else "run")
    assert worker.one(0, 2) == names(server, 0, 2)


INIT_FAILURES = {
    "import error": ("import no_such_module_here\n", "import", "ModuleNotFoundError", "no_such_module_here"),
    "syntax error": ("def run(:\n", "import", "SyntaxError", ""),
    "module exits": ("import sys\nsys.exit(3)\n", "import", "SystemExit", "3"),
    "no run": ("x = 1\n", "contract", "ContractError", "defines no function run"),
    "run is no function": ("run = 3\n", "contract", "ContractError", "defines no function run"),
    "run of none": ("def run(): return []\n", "contract", "ContractError", "cannot be called as run(mini_batch)"),
    "run of three": ("def run(a, b, c): return []\n", "contract", "ContractError", "run(a, b, c) cannot be called"),
    "run by keyword": ("def run(a, *, b): return []\n", "contract", "ContractError", "cannot be called"),
    "async run": ("async def run(a): return []\n", "contract", "ContractError", "async"),
    "async generator run": ("async def run(a): yield 1\n", "contract", "ContractError", "async"),
    "async call": (
        "class Run:\n    async def __call__(self, a): return a\nrun = Run()\n",
        "contract",
        "ContractError",
        "async",
    ),
    "async init": ("async def init(): pass\n" + ECHO, "contract", "ContractError", "init must be a plain function"),
    "async shutdown": ("async def shutdown(): pass\n" + ECHO, "contract", "ContractError", "shutdown must be a plain"),
    "init with argument": (
        "def init(x): pass\n" + ECHO,
        "contract",
        "ContractError",
        "init(x) cannot be called as init()",
    ),
    "init is no function": ("init = 3\n" + ECHO, "contract", "ContractError", "init is a int, not a function"),
    "shutdown with argument": ("def shutdown(x): pass\n" + ECHO, "contract", "ContractError", "shutdown(x)"),
    "init raises": ("def init():\n    raise OSError(28, 'full')\n" + ECHO, "init", "OSError", "full"),
    "init exits": ("def init():\n    raise SystemExit\n" + ECHO, "init", "SystemExit", ""),
}


@pytest.mark.parametrize("case", INIT_FAILURES)
def test_init_failures(server: Server, case: str) -> None:
    script, phase, error, message = INIT_FAILURES[case]
    server.job(script)
    worker = server.fork()
    found = worker.expect(wire.INIT_FAILED).json()
    assert (found["kind"], found["phase"], found["error"]) == ("failed", phase, error)
    assert message in found["message"]
    assert "_batchctl_guest" not in found["traceback"]
    assert os.waitstatus_to_exitcode(server.exited(worker)) == wire.EXIT_INIT_FAILED


def test_damaged_settings_file_fails_init_by_name(server: Server) -> None:
    (server.code / "parallel_run_step.settings.json").write_text("{")
    server.job(ECHO)
    found = server.fork().expect(wire.INIT_FAILED).json()
    assert found["phase"] == "contract"
    assert "parallel_run_step.settings.json" in found["message"]


def test_missing_script(server: Server) -> None:
    server.job(ECHO)
    server.script.unlink()
    found = server.fork().expect(wire.INIT_FAILED).json()
    assert (found["phase"], found["error"]) == ("import", "FileNotFoundError")


def test_summary_only_renders_nothing_and_still_checks(server: Server) -> None:
    script = """
class Hostile:
    def __format__(self, spec): return 1 / 0
def run(b): return [Hostile()] if b[0][-1] == "0" else 3
"""
    worker = server.worker(script, output_action="summary_only")
    worker.lease((0, 0, 4))
    record, rows = worker.scored()[0]
    assert (rows, record[7], record[8]) == (b"", 0, 1)
    assert worker.fail(1)["error"] == "ContractError"


def test_voided_leases_are_skipped_and_named(server: Server) -> None:
    worker = server.worker(ECHO)
    worker.page.void(2, 4)
    worker.lease(*[(0, i, 1) for i in range(5)])
    assert worker.expect(wire.VOIDED).json() == {"serials": [2, 3]}
    assert [record[0] for record, _ in worker.scored(3)] == [1, 4, 5]


def test_long_rows_go_through_a_spill_file(server: Server) -> None:
    worker = server.worker("def run(b): return ['x' * 100] * len(b)\n", spill_over=500)
    worker.lease((0, 0, 4), (0, 0, 5), (0, 0, 4))
    head = worker.expect(wire.SCORED_LONG).json()
    path = server.root / "spill" / head["spill"]
    rows = path.read_bytes()
    assert rows == (b"x" * 100 + b"\n") * 5
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.name == f"{server.epoch}.{worker.incarnation}.2"
    assert head["crc"] == zlib.crc32(rows)
    assert (head["length"], head["n_rows"], head["ok"], head["staged"], head["files"]) == (505, 5, 5, "", [])
    assert (head["serial"], head["lease"]) == (2, [0, 0, 5, 1])
    assert [record[0] for record, _ in worker.scored(2)] == [1, 3]


def test_a_spill_that_cannot_be_written_fails_the_attempt(server: Server) -> None:
    worker = server.worker("def run(b): return ['x' * 100] * len(b)\n", spill_over=50, spill=str(server.root / "gone"))
    found = worker.fail()
    assert (found["phase"], found["error"], found["errno"]) == (
        "stage",
        "FileNotFoundError",
        None,
    )  # the disk is not full


def test_results_flush_by_bytes(server: Server) -> None:
    worker = server.worker("def run(b): return ['x' * 999] * len(b)\n", linger_bytes=10_000, linger_ms=3_600_000)
    worker.lease(*[(0, 0, 10)] * 8)
    assert len(worker.expect(wire.SCORED).head) == wire.SCORED_RECORD.size


def test_csv_columns_precede_the_rows_that_they_name(server: Server) -> None:
    script = """
def run(b):
    kind = b[0][-1]
    if kind == "0": return ["a,b", 'q"q', "", None, 1.5]
    if kind == "1": return [{"x": 1, "y": "l\\nm"}, {"x": None}]
    return [{"x": 1}, {"z": 1}]
"""
    worker = server.worker(script, output_format="csv")
    assert worker.one(0) == b'"a,b"\n"q""q"\n""\n""\n1.5\n'
    assert worker.expect(wire.COLUMNS).body == b"prediction\n"
    assert worker.one(0)[:4] == b'"a,b'
    assert worker.one(1) == b'1,"l\nm"\n,\n'
    assert worker.expect(wire.COLUMNS).body == b"x,y\n"
    assert "'z'" in worker.fail(2)["message"]
    assert not [frame for frame in worker.frames if frame.kind == wire.COLUMNS]


def test_jsonl(server: Server) -> None:
    script = """
import datetime
def run(b):
    return [{"file": "\\udcff", "p": float("nan"), 1: (1, {2})}, 1.5, "é", None, datetime.date(2020, 1, 2)]
"""
    worker = server.worker(script, output_format="jsonl")
    assert worker.one().decode().splitlines() == [
        '{"file":"\\udcff","p":null,"1":[1,[2]]}',
        '{"prediction":1.5}',
        '{"prediction":"é"}',
        '{"prediction":null}',
        '{"prediction":"2020-01-02"}',
    ]


def test_page_tells_the_state_before_it_is_acted(server: Server) -> None:
    # A fifo per state: opening its writing end returns when the worker stands at the reading end.
    gates = {state: server.root / f"gate{state}" for state in (pages.RUN, pages.RENDER, pages.SHUTDOWN)}
    for gate in gates.values():
        os.mkfifo(gate)
    script = f"""
class Slow:
    def __format__(self, spec): return open({str(gates[pages.RENDER])!r}).read()
def run(b): return [open({str(gates[pages.RUN])!r}).read(), Slow()]
def shutdown(): open({str(gates[pages.SHUTDOWN])!r}).read()
"""
    before = time.monotonic_ns()
    worker = server.worker(script)

    def at(state: int, serial: int, text: str) -> None:
        with open(gates[state], "w") as gate:
            found = worker.page.look()
            assert (found.state, found.serial) == (state, serial)
            assert before < found.start_ns <= time.monotonic_ns()
            gate.write(text)

    worker.lease((0, 0, 1), (0, 0, 1))
    for serial in (1, 2):
        at(pages.RUN, serial, "ran")
        at(pages.RENDER, serial, "rendered")
    assert [rows for _, rows in worker.scored(2)] == [b"ran\nrendered\n"] * 2
    worker.send(wire.STOP)
    at(pages.SHUTDOWN, 2, "")
    worker.expect(wire.BYE)


def test_the_serial_on_the_page_never_falls_back(server: Server) -> None:
    # The pool takes back what has a higher serial than the page shows: an idle worker must not seem to begin anew.
    worker = server.worker(ECHO)
    worker.lease(*[(0, 0, 1)] * 3)
    worker.scored(3)
    assert worker.page.look().serial == 3
    worker.send(wire.STOP)
    worker.expect(wire.BYE)
    assert worker.page.look()[:2] == (pages.SHUTDOWN, 3)


def test_unexpected_frame_is_a_fault_of_ours(server: Server) -> None:
    worker = server.worker(ECHO)
    worker.send(wire.HELLO)
    assert os.waitstatus_to_exitcode(server.exited(worker)) == wire.EXIT_BROKEN
    assert b"ProtocolError" in worker.log()


def test_garbage_on_the_channel(server: Server) -> None:
    worker = server.worker(ECHO)
    worker.sock.sendall(b"\xff" * 64)
    assert os.waitstatus_to_exitcode(server.exited(worker)) == wire.EXIT_BROKEN


def test_worker_leaves_when_the_pool_closes_the_channel(server: Server) -> None:
    worker = server.worker(ECHO)
    worker.sock.shutdown(2)
    assert os.waitstatus_to_exitcode(server.exited(worker)) == wire.EXIT_NO_POOL
