"""What the script finds: its arguments, its surroundings, and how its functions are called."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from guest_driver import Server

from batchctl.guest import wire

RUN = "def run(mini_batch):\n    return mini_batch\n"


def seen(server: Server, expression: str, **changes: Any) -> Any:
    """The value of an expression evaluated in run(), through repr-free JSON."""
    script = f"import json, os, sys\ndef run(mini_batch):\n    return [json.dumps({expression})]\n"
    return json.loads(server.worker(script, **changes).one())


def test_items_arrive_as_fresh_list_of_absolute_str(server: Server) -> None:
    script = """
def run(mini_batch):
    facts = [type(mini_batch).__name__, {type(p).__name__ for p in mini_batch}.pop(), mini_batch[0]]
    mini_batch.clear()
    return facts
"""
    worker = server.worker(script)
    for first in (3, 3):
        assert worker.one(first, 2).decode().splitlines() == ["list", "str", server.items[first]]


@pytest.mark.parametrize(
    "name",
    ["a b'c\"d", "new\nline", "esc\x1b[0m", "ünïcode", b"raw\xff\xfe", "x" * 255],
    ids=["quotes", "newline", "escape", "unicode", "not-utf8", "long"],
)
def test_names_come_back_byte_for_byte(server: Server, name: str | bytes) -> None:
    path = os.fsencode(server.root) + b"/in/" + os.fsencode(name)
    worker = server.worker(RUN, items=["/before", path, "/after"])
    assert worker.one(0, 3) == b"/before\n" + path + b"\n/after\n"
    assert worker.one(1, 1) == path + b"\n"


@pytest.mark.parametrize(
    ("signature", "given"),
    [
        ("mini_batch", "-"),
        ("mini_batch, context", "5 {} None"),
        ("mini_batch, context=None", "5 {} None"),
        ("*arguments", "5 {} None"),
        ("mini_batch, *, context=None", "-"),
        ("mini_batch, **keywords", "-"),
    ],
)
def test_run_gets_the_context_when_its_signature_has_room(server: Server, signature: str, given: str) -> None:
    script = f"""
def run({signature}):
    found = locals().get("context") or (locals().get("arguments") or [0, None])[1]
    return ["%d %s %s" % (found.minibatch_index, found.partition_key_value, found.dataset) if found else "-"]
"""
    assert server.worker(script).one(50, 1, batch=5) == given.encode() + b"\n"


DECORATED = {
    "a wrapper of anything": ("def deco(f):\n    def inner(*a, **k): return f(*a, **k)\n    return inner\n", "batch"),
    "two of them": (
        "def one(f):\n    def inner(*a): return f(*a)\n    return inner\ndef deco(f): return one(one(f))\n", "batch",
    ),
    "with a callback": (
        "def deco(f):\n    done = print\n    def inner(*a): return f(*a) if done else 0\n    return inner\n", "batch",
    ),
    "wraps": (
        "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def inner(*a): return f(*a)\n    return inner\n",
        "batch",
    ),
    "wraps, taking less": (
        (
            "import functools\ndef deco(f):\n"
            "    @functools.wraps(f)\n    def inner(b): return f(b, None)\n    return inner\n"
        ),
        "batch, context",
    ),
    "wraps, giving one more": (
        ("import functools\ndef deco(f):\n"
        "    @functools.wraps(f)\n    def inner(b): return f(b, None, 3)\n    return inner\n"),
        "batch, context, model",
    ),
    "no wraps, giving one more": (
        "def deco(f):\n    def inner(*a): return f(a[0], None, 3)\n    return inner\n", "batch, context, model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DECORATED)
def test_a_decorated_run_gets_what_the_function_below_takes(server: Server, case: str) -> None:
    decorator, signature = DECORATED[case]
    script = f"{decorator}@deco\ndef run({signature}):\n    return [str(locals().get('context'))]\n"
    assert server.worker(script).one() == b"None\n"


@pytest.mark.parametrize("case", ["a wrapper of anything", "two of them", "with a callback", "wraps"])
def test_a_decorated_run_with_room_gets_the_context(server: Server, case: str) -> None:
    decorator, _ = DECORATED[case]
    script = f"{decorator}@deco\ndef run(batch, context):\n    return [context.minibatch_index]\n"
    assert server.worker(script).one(50, 1, batch=5) == b"5\n"


def test_the_context_holds_the_values_of_the_partition(server: Server) -> None:
    values = [["alice", "a b"], ["ünï=1", "x" * 300], [b"raw\xff", "y"]]
    script = """
import os
def run(mini_batch, context):
    found = context.partition_key_value
    told = [repr(sorted(found.items())).encode("utf-8", "backslashreplace").decode()]
    found.clear()
    return told
"""
    worker = server.worker(script, batch_size=2, items=server.items[:6], partitions=(("user", "sea söhn"), values))
    for batch in (2, 0, 1, 1):
        given = zip(("user", "sea söhn"), map(os.fsdecode, values[batch]), strict=True)
        expected = repr(sorted(given)).encode("utf-8", "backslashreplace")
        assert worker.one(batch * 2, 2, batch=batch) == expected + b"\n"


def test_surroundings(server: Server) -> None:
    (server.code / "helper.py").write_text("VALUE = 42\n")
    expression = (
        "[__file__, __name__, sys.argv, sys.path[0], os.getcwd(), os.environ['AZUREML_BI_OUTPUT_PATH'], "
        "os.environ['MINE'], os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'], "
        "__import__('helper').VALUE, [p for p in sys.path if p.endswith('.pyz')], os.getpgrp() == os.getpid(), "
        "sys.stdin.read(), vars(sys.modules['__main__']).get('__file__')]"
    )
    found = seen(
        server,
        expression,
        env={"MINE": "yes", "MKL_NUM_THREADS": "9"},
        argv=["--logging_level", "info", "--x", "1"],
        fork={"threads": 3},
    )
    base = server.root / "stage" / f"w{server.workers[-1].incarnation}"
    script = str(server.script)
    assert found == [
        script,
        "score",
        [script, "--logging_level", "info", "--x", "1"],
        str(server.code),
        str(base / "cwd"),
        str(base / "out"),
        "yes",
        "3",
        "9",
        42,
        [],
        True,
        "",
        None,
    ]


def test_large_environment_travels_in_the_body(server: Server) -> None:
    value = "v" * (2 << 20)
    body = json.dumps({"LARGE": value[:100_000], **{f"V{i}": value[:100_000] for i in range(20)}}).encode()
    assert seen(server, "len(os.environ['LARGE']) + len(os.environ['V19'])", body=body) == 200_000


@pytest.mark.parametrize(("gpu", "mask"), [(None, "kept"), ("", ""), ("GPU-1", "GPU-1")])
def test_gpu_mask(server: Server, gpu: str | None, mask: str) -> None:
    found = seen(server, "os.environ['CUDA_VISIBLE_DEVICES']", env={"CUDA_VISIBLE_DEVICES": "kept"}, fork={"gpu": gpu})
    assert found == mask


def test_affinity_and_oom_score(server: Server) -> None:
    cpu, own = min(os.sched_getaffinity(0)), int(Path("/proc/self/oom_score_adj").read_text())
    expression = "[sorted(os.sched_getaffinity(0)), open('/proc/self/oom_score_adj').read().strip()]"
    assert seen(server, expression, fork={"cpus": [cpu], "oom_score_adj": 500}) == [
        [cpu],
        str(min(1000, min(1000, own + 250) + 500)),
    ]  # the server itself has 250 more than this process


@pytest.mark.parametrize(("own", "worker"), [(300, "800"), (900, "1000"), (1000, "1000")])
def test_a_worker_goes_before_the_coordinator_wherever_that_one_stands(server: Server, own: int, worker: str) -> None:
    """In a container that is the first to go all of us begin at up to 1000."""
    score = Path(f"/proc/{server.process.pid}/oom_score_adj")
    before = score.read_text()
    score.write_text(f"{own}\n")
    try:
        expression = "open('/proc/self/oom_score_adj').read().strip()"
        assert seen(server, expression, fork={"oom_score_adj": 500}) == worker
    finally:
        score.write_text(before)  # other tests have this server too


def test_affinity_that_cannot_be_had_is_a_note(server: Server) -> None:
    server.job(RUN)
    worker = server.fork(cpus=[4000])
    assert "not pinned" in worker.expect(wire.NOTE).json()["text"]
    worker.ready()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("sub/score.py", "sub.score"),
        ("sub/my-score.py", "_script_my_score"),
        ("json.py", "_script_json"),
        ("class.py", "_script_class"),
        ("email/score.py", "_script_score"),
        ("pkg/score.py", "pkg.score"),
    ],
    ids=lambda value: value.replace("/", "_"),
)
def test_module_name(server: Server, path: str, name: str) -> None:
    script = server.code / path
    (server.code / "pkg").mkdir()
    (server.code / "pkg" / "__init__.py").write_text("from .inner import X\n")
    (server.code / "pkg" / "inner.py").write_text("X = 'inner'\n")
    script.parent.mkdir(exist_ok=True)
    (script.parent / "beside.py").write_text("X = 'beside'\n")
    relative = "from .inner import X" if path.startswith("pkg") else "from beside import X"
    server.script = script
    source = f"{relative}\nimport json, email.message\ndef run(b): return [__name__, X, json.dumps(1), __file__]\n"
    rows = server.worker(source).one().decode().splitlines()
    assert rows == [name, "inner" if path.startswith("pkg") else "beside", "1", str(script)]


def test_pythonpath_of_the_job(server: Server) -> None:
    extra = server.root / "extra"
    extra.mkdir()
    (extra / "elsewhere.py").write_text("X = 'found'\n")
    assert seen(server, "__import__('elsewhere').X", env={"PYTHONPATH": str(extra)}) == "found"


def test_prints_and_logs_reach_the_log_pipe_at_once(server: Server) -> None:
    script = """
import logging, os, sys
def init():
    print("printed \\udcff")
    logging.getLogger("x").info("logged")
    logging.getLogger("x").debug("hidden")
    os.write(2, b"raw\\n")
def run(b):
    return b
"""
    text = server.worker(script).log(b"raw\n").decode()
    assert text.startswith("printed \\udcff\n")
    assert "|INFO|" in text
    assert "logged" in text
    assert "hidden" not in text


# name: what a script does at its import, and the threshold that stands afterwards (None: the interpreter's own)
COLLECTING = {
    "nothing": ("", None),
    "a threshold of its own": ("gc.set_threshold(123, 4, 5)", "(123, 4, 5)"),
    "none": ("gc.disable()", None),
}


@pytest.mark.parametrize("case", COLLECTING)
def test_garbage_is_collected_rarely_while_the_script_is_imported(server: Server, case: str) -> None:
    does, afterwards = COLLECTING[case]
    script = f"""
import gc, subprocess, sys
during = gc.get_threshold()
{does}
def run(mini_batch):
    asked = [sys.executable, "-c", "import gc; print(gc.get_threshold())"]
    return [during[0], gc.get_threshold(), gc.isenabled(), subprocess.check_output(asked).decode().strip()]
"""
    during, now, enabled, plain = server.worker(script).one().decode().splitlines()
    assert (int(during), now) == (1_000_000, afterwards or plain)
    assert enabled == str(case != "none")


def test_what_the_script_makes_at_its_import_is_not_looked_through(server: Server) -> None:
    script = """
import gc
MADE = [[n] for n in range(20_000)]
def run(mini_batch):
    return [any(one is MADE[0] for one in gc.get_objects()), gc.get_freeze_count() > 20_000]
"""
    assert server.worker(script).one().decode().split() == ["False", "True"]


def test_logging_level(server: Server) -> None:
    script = "import logging\nlogging.debug('deep')\n" + RUN
    assert b"deep" in server.worker(script, logging_level="DEBUG").log(b"deep\n")


def test_dump_signal_shows_all_stacks(server: Server) -> None:
    script = """
import time, threading
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
def run(mini_batch):
    print("in run")
    while True:
        time.sleep(1000)
"""
    worker = server.worker(script)
    worker.lease((0, 0, 1))
    worker.log(b"in run\n")
    os.kill(worker.pid, wire.DUMP_SIGNAL)
    text = worker.log(b"in _live")
    assert b"score.py" in text
    assert b"most recent call first" in text


def test_shutdown_then_atexit_then_status_zero(server: Server) -> None:
    script = """
import atexit
atexit.register(print, "at exit")
def run(b): return b
def shutdown():
    print("shutting down")
    raise ValueError("too late")
"""
    worker = server.worker(script)
    worker.one()
    worker.stop()
    note = worker.expect(wire.NOTE).json()
    assert note["text"] == "shutdown() raised ValueError: too late"
    assert "score.py" in note["traceback"]
    assert server.exited(worker) == 0
    assert worker.log() == b"shutting down\nat exit\n"


def test_an_executor_that_is_never_shut_down_holds_nobody_up(server: Server) -> None:
    script = """
import atexit
from concurrent.futures import ProcessPoolExecutor
atexit.register(print, "at exit")
def init():
    global executor
    executor = ProcessPoolExecutor(1)
def run(b): return list(executor.map(len, b))
"""
    worker = server.worker(script)
    assert worker.one() == b"%d\n" % len(server.items[0])
    worker.stop()
    assert server.exited(worker) == 0
    assert worker.log() == b"at exit\n"


def test_init_runs_once_per_worker_before_ready(server: Server) -> None:
    script = "n = 0\ndef init():\n    global n\n    n += 1\ndef run(b): return [n]\n"
    server.job(script)
    worker = server.fork()
    worker.lease((0, 0, 1))  # may come early
    assert worker.ready()["init_s"] >= 0
    assert worker.scored()[0][1] == b"1\n"
    assert worker.one() == b"1\n"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("def init(): raise ValueError('no weights')\ndef run(b): return b\n", b"ValueError: no weights\n"),
        ("import json\njson.no_such\n", b"has no attribute 'no_such'"),
        ("def init(): pass\n", b"defines no function run"),
        ("import sys\ndef init():\n    sys.stderr = None\n    raise ValueError\ndef run(b): return b\n", b""),
    ],
    ids=["init", "import", "contract", "nowhere to write"],
)
def test_what_keeps_a_worker_from_starting_is_in_its_log(server: Server, script: str, told: bytes) -> None:
    server.job(script)
    worker = server.fork()
    worker.expect(wire.INIT_FAILED)
    assert told in worker.log()


def test_streams_that_are_none_hurt_nobody(server: Server) -> None:
    worker = server.worker("import sys\ndef init():\n    sys.stdout = sys.stderr = None\ndef run(b): return b\n")
    worker.one()
    worker.stop()
