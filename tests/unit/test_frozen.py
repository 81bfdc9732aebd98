"""The packaged file's way in, with real processes that take themselves for it: its environment, and it as a Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from batchctl import frozen
from batchctl.embedded import trusted_authorities
from tests.unit.executable.pretend import ROOT, Pretend

TOLD = """
import json, os, sys
print(json.dumps([dict(os.environ), sys.argv, sys.path[0], sorted(sys.modules), __name__]))
"""
TRACES = ("_BATCHCTL", "_PYI_", "_MEI", "PYINSTALLER_", "LD_LIBRARY_PATH_ORIG")


@pytest.fixture
def pretend(tmp_path: Path) -> Pretend:
    return Pretend(tmp_path)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        pytest.param({}, None, id="no library path"),
        pytest.param({"LD_LIBRARY_PATH": "/opt/lib:/usr/lib"}, "/opt/lib:/usr/lib", id="the user's own"),
        pytest.param({"LD_LIBRARY_PATH": ""}, "", id="the user's, empty"),
    ],
)
def test_the_environment_is_as_before_the_start(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], expected: str | None
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    again = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {TOLD!r}], check=True)"
    for code in (TOLD, again):  # as it is, and in a child that the script starts through sys.executable
        ran = pretend.run(frozen.EMBEDDED, "-c", code, env={"AZUREML_X": "1", **env})
        environment = json.loads(ran.stdout)[0]
        assert environment.get("LD_LIBRARY_PATH") == expected
        assert [name for name in environment if name.startswith(TRACES)] == []
        assert environment["AZUREML_X"] == "1"


def test_an_active_environment_is_still_known(pretend: Pretend) -> None:
    code = "import os, subprocess; subprocess.run(['sh', '-c', 'echo $VIRTUAL_ENV'])"
    for launched in (True, False):
        ran = pretend.run(frozen.EMBEDDED, "-c", code, launched=launched, env={"VIRTUAL_ENV": "/opt/äöü env"})
        assert ran.stdout == "/opt/äöü env\n"
    assert pretend.run(frozen.EMBEDDED, "-c", code).stdout == "\n"


# name: (part of LD_LIBRARY_PATH in a frozen process without ..._ORIG) -> what is left of it; T is the tree
LEFT = {
    "ours alone": ("T/_internal", None),
    "ours with a slash": ("T/_internal/", None),
    "ours first": ("T/_internal:/opt", "/opt"),
    "cleaned before": ("/opt:/usr/lib", "/opt:/usr/lib"),
    "somebody else's tree": ("/other/_internal", "/other/_internal"),
}


@pytest.mark.parametrize("case", LEFT)
def test_only_our_part_of_the_library_path_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    given, expected = LEFT[case]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path / "_internal"), raising=False)
    environ = {"LD_LIBRARY_PATH": given.replace("T", str(tmp_path))}
    for _ in range(2):
        frozen.clean(environ)
        assert environ.get("LD_LIBRARY_PATH") == expected


FACTS = """
import json, os, sys
from batchctl import frozen
fd = frozen.tree_lock()
print(json.dumps([fd >= 0, fd >= 0 and os.get_inheritable(fd), str(frozen.executable_path()), str(frozen.tree()),
                  str(frozen.bundled("x"))]))
"""


def test_what_the_launcher_told(pretend: Pretend) -> None:
    ran = pretend.run(frozen.EMBEDDED, "-c", FACTS)
    inside = str(pretend.tree / "_internal" / "batchctl" / "x")
    assert json.loads(ran.stdout) == [True, False, str(pretend.executable), str(pretend.tree), inside]
    ran = pretend.run(frozen.EMBEDDED, "-c", FACTS, launched=False)
    assert json.loads(ran.stdout)[:3] == [False, False, str(pretend.tree / "batchctl")]


@pytest.mark.parametrize(
    ("told", "path"),
    [
        pytest.param("-1 /opt/batchctl", "/opt/batchctl", id="a cache folder without locks"),
        pytest.param("0 /opt/batchctl", "/opt/batchctl", id="standard input"),
        pytest.param("FD /opt/batchctl", "/opt/batchctl", id="a descriptor of something else"),
        pytest.param("99 /opt/my batchctl", "/opt/my batchctl", id="a descriptor that is not open"),
        pytest.param("99999999999999999999 /opt/batchctl", "/opt/batchctl", id="no descriptor at all"),
        pytest.param("-1 batchctl", "TREE/batchctl", id="a relative path"),
        pytest.param("", "TREE/batchctl", id="nothing"),
        pytest.param("²  /x", "TREE/batchctl", id="nonsense"),
    ],
)
def test_a_variable_that_somebody_else_set_is_harmless(pretend: Pretend, tmp_path: Path, told: str, path: str) -> None:
    other = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(other, True)
    stays = f"import os; assert os.get_inheritable({other})"
    ran = subprocess.run(
        pretend.command(frozen.EMBEDDED, "-c", f"{FACTS}\n{stays}", launched=False),
        env={**os.environ, frozen.LAUNCHER_VARIABLE: told.replace("FD", str(other))},
        capture_output=True,
        text=True,
        check=False,
        pass_fds=[other],
    )
    os.close(other)
    assert ran.stderr == ""
    assert json.loads(ran.stdout)[:3] == [False, False, path.replace("TREE", str(pretend.tree))]


def test_version_loads_no_command_line(pretend: Pretend) -> None:
    for argv in ("--version", "-V"):
        ran = pretend.run(argv)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "batchctl 0.1.0\n", "")
    program = pretend.root.parent / "program.py"
    # It leaves by os._exit, past whatever would tell what was loaded.
    listing = (
        f"import os, sys; os._exit = sys.exit; sys.argv[1:] = ['--version']\ntry: exec(open({str(program)!r}).read())"
    )
    listing += "\nexcept SystemExit: print(sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-S", "-c", listing], capture_output=True, text=True, check=True)
    assert "'batchctl.frozen'" in ran.stdout
    for heavy in ("argparse", "pathlib", "json", "typing", "re", "batchctl.cli", "multiprocessing", "subprocess"):
        assert f"'{heavy}'" not in ran.stdout


def test_version_into_a_closed_or_full_place_is_told_by_the_command_line(pretend: Pretend) -> None:
    for where, rc in ((">&-", 74), (">/dev/full", 74)):
        command = 'exec "$@" ' + where
        argv = ["sh", "-c", command, "sh", *pretend.command("--version")]
        ran = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (ran.returncode, "standard output" in ran.stderr) == (rc, True), ran.stderr


def test_batchctl_itself_is_what_is_started(pretend: Pretend) -> None:
    for launched in (True, False):
        assert pretend.run("--help", launched=launched).stdout.startswith("usage: batchctl COMMAND")
        assert pretend.run("probe", launched=launched).returncode == 0
    assert pretend.run("-c", "print(1)").returncode == 2  # typed by a person, it is no hidden interpreter
    assert "no such command: x.py" in pretend.run("x.py").stderr


# --- as a Python ------------------------------------------------------------------------------------------------------

SCRIPT = "import sys\nprint(__name__, __file__, sys.argv, sys.path[0], __spec__ and __spec__.name)\n"


@pytest.mark.parametrize(
    ("argv", "printed"),
    [
        pytest.param(
            ["-c", "import sys; print(sys.argv, repr(sys.path[0]))", "a", "-b"], "['-c', 'a', '-b'] ''", id="-c"
        ),
        pytest.param(["-Bsuc", "import sys; print(sys.argv)"], "['-c']", id="flags in one word"),
        pytest.param(["-X", "utf8", "-Xdev", "-c", "print(2)"], "2", id="-X"),
        pytest.param(["--check-hash-based-pycs", "never", "-c", "print(3)"], "3", id="pycs"),
        pytest.param(["-I", "-c", "import sys; print('' in sys.path)"], "False", id="-I"),
        pytest.param(
            ["-Werror::UserWarning", "-c", "import sys; print(sys.warnoptions)"], "['error::UserWarning']", id="-W"
        ),
        pytest.param(["s.py", "x"], "__main__ HERE/s.py ['s.py', 'x'] HERE None", id="a file"),
        pytest.param(["sub/link.py"], "__main__ HERE/sub/link.py ['sub/link.py'] HERE None", id="a link to a file"),
        pytest.param(["-P", "s.py"], "__main__ HERE/s.py ['s.py'] OTHER None", id="a file, safely"),
        pytest.param(["a.zip", "x"], "__main__ HERE/a.zip/__main__.py ['a.zip', 'x'] HERE/a.zip __main__", id="a zip"),
        pytest.param(["sub", "x"], "__main__ HERE/sub/__main__.py ['sub', 'x'] HERE/sub __main__", id="a folder"),
        pytest.param(["-m", "s", "x"], "__main__ HERE/s.py ['HERE/s.py', 'x'] HERE", id="-m"),
        pytest.param(["-m", "json.tool", "--json-lines", "one.json"], "1", id="-m of the standard library"),
        pytest.param(["-V"], "Python " + sys.version.split()[0], id="-V"),
    ],
)
def test_it_is_called_like_a_python(pretend: Pretend, tmp_path: Path, argv: list[str], printed: str) -> None:
    (tmp_path / "s.py").write_text(SCRIPT)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "__main__.py").write_text(SCRIPT)
    (tmp_path / "sub" / "link.py").symlink_to("../s.py")
    (tmp_path / "one.json").write_text("1\n")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("__main__.py", SCRIPT)
    ours = pretend.run(frozen.EMBEDDED, *argv)
    theirs = subprocess.run([sys.executable, *argv], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ours.stderr == ""
    if "OTHER" not in printed:  # nothing of the folder; what comes first instead is each Python's own
        assert ours.stdout.strip().startswith(printed.replace("HERE", str(tmp_path)))
        assert (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode)
    else:
        assert ours.stdout.split()[3:-1] != [str(tmp_path)]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        pytest.param(["-c", "import sys; sys.exit(7)"], 7, "", id="exit code"),
        pytest.param(["-c", "raise SystemExit('words')"], 1, "words\n", id="exit words"),
        pytest.param(
            ["-c", "1/0"],
            1,
            'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\n'
            "ZeroDivisionError: division by zero\n",
            id="an exception, without frames of ours",
        ),
        pytest.param(["-c", "raise KeyboardInterrupt"], 130, None, id="Ctrl-C"),
        pytest.param(["-c", "(("], 1, None, id="no Python"),
        pytest.param(["nowhere.py"], 2, None, id="no such file"),
        pytest.param(["-m", "nowhere"], 1, None, id="no such module"),
        pytest.param(["-c"], 2, None, id="-c without code"),
        pytest.param(["-Z"], 2, None, id="an option that Python does not know"),
        pytest.param(["-c", "import os; os._exit(3)"], 3, "", id="_exit"),
        pytest.param(["-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"], -15, "", id="a signal"),
    ],
)
def test_it_ends_like_a_python(pretend: Pretend, argv: list[str], code: int, said: str | None) -> None:
    ran = pretend.run(frozen.EMBEDDED, *argv)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert ran.stderr == said if said is not None else ran.stderr


@pytest.mark.parametrize(
    ("argv", "seen"),
    [
        pytest.param([], ["-"], id="none"),
        pytest.param(["-"], ["-"], id="-"),
        pytest.param(["-I", "-", "x"], ["-", "x"], id="- x"),
    ],
)
def test_code_from_standard_input(pretend: Pretend, argv: list[str], seen: list[str]) -> None:
    ran = pretend.run(frozen.EMBEDDED, *argv, input="import sys; print(sys.argv)")
    assert ran.stdout == f"{seen}\n"


def test_what_a_script_starts_with_sys_executable_is_a_python(pretend: Pretend, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("import sys; print(sys.argv[1:])\n")
    ran = pretend.run(str(tmp_path / "tool"), "x", launched=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("['x']\n", "", 0)
    ran = pretend.run(launched=False, input="print(3 * 3)")
    assert (ran.stdout, ran.stderr, ran.returncode) == ("9\n", "", 0)


@pytest.mark.parametrize("word", ["exit", "quit", "sys.exit"])
def test_scripts_may_call_exit(word: str) -> None:
    code = f"import sys; callable(help) and {word}(7)"
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from batchctl.embedded import be_python; "
    argv = [sys.executable, "-I", "-S", "-c", f"{start}be_python(['-c', {code!r}])"]  # as the packaged one: no `site`
    assert subprocess.run(argv, check=False).returncode == 7


DEBIAN, RED_HAT = "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"


@pytest.mark.parametrize(
    ("there", "environ", "found"),
    [
        pytest.param([DEBIAN, "/usr/lib/ssl/certs"], {}, "", id="where OpenSSL looks"),
        pytest.param([DEBIAN], {}, DEBIAN, id="no folder of OpenSSL"),
        pytest.param([RED_HAT], {}, RED_HAT, id="another system"),
        pytest.param([RED_HAT], {"SSL_CERT_FILE": "/x"}, "", id="the user's own file"),
        pytest.param([RED_HAT], {"SSL_CERT_DIR": "/x"}, "", id="the user's own folder"),
        pytest.param([RED_HAT], {"SSL_CERT_FILE": ""}, RED_HAT, id="an empty variable"),
        pytest.param([], {}, "", id="none"),
    ],
)
def test_the_systems_authorities_are_trusted(there: list[str], environ: dict[str, str], found: str) -> None:
    assert trusted_authorities(environ, exists=there.__contains__) == found


PROCESSES = """
import concurrent.futures, multiprocessing, multiprocessing.shared_memory, os, subprocess, sys

def square(number):
    assert "batchctl.cli.main" not in sys.modules
    return number * number

def environment(_):
    return sorted(name for name in os.environ if name.startswith(("_PYI", "_MEI", "_BATCHCTL", "LD_")))

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            print(method, pool.map(square, [1, 2, 3]), pool.map(environment, [0]))
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
            print(method, list(executor.map(square, [4])))
        queue = context.Queue()
        process = context.Process(target=queue.put, args=("told",))
        process.start()
        print(queue.get(), process.join(), process.exitcode)
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=10)  # brings the resource tracker
    memory.close()
    memory.unlink()
    again = [sys.executable, "-m", "json.tool", "--compact"]
    ran = subprocess.run(again, input="[1, 2]", capture_output=True, text=True)
    print(ran.stdout.strip(), ran.stderr, ran.returncode)
"""


@pytest.mark.parametrize("launched", [True, False], ids=["launched", "from the tree"])
def test_multiprocessing_of_a_script_works_and_does_not_loop(pretend: Pretend, tmp_path: Path, launched: bool) -> None:
    (tmp_path / "script.py").write_text(PROCESSES)
    ran = pretend.run(frozen.EMBEDDED, "script.py", launched=launched)
    lines = []
    for method in ("fork", "spawn", "forkserver"):
        lines += [f"{method} [1, 4, 9] [[]]", f"{method} [16]", "told None 0"]
    assert (ran.stdout.splitlines(), ran.stderr) == ([*lines, "[1,2]  0"], "")


def test_nothing_of_multiprocessing_is_loaded_unasked(pretend: Pretend, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(TOLD)
    for argv in (["s.py"], ["-c", TOLD]):
        modules = json.loads(pretend.run(frozen.EMBEDDED, *argv).stdout)[3]
        assert not {"multiprocessing", "subprocess", "argparse", "batchctl.cli.main"} & set(modules)
