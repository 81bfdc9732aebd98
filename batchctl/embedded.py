"""The packaged file as a Python interpreter: for scripts that need only what is inside, and for what they start.

Takes a command line as CPython does (`-c`, `-m`, a file, a zip or a folder; options before it) and behaves as closely
as a program that is already running can: sys.argv, sys.path[0], `__main__`, exit codes. Options that concern the start
of an interpreter (-B, -E, -I, -O, -s, -S ...) are taken and change nothing: it has started, isolated, without `site`;
what scripts know of that (exit, quit, help) is there all the same. HTTPS trusts the authorities that the system does.
multiprocessing is never imported here; its command lines are run as the code that they hold.
"""

from __future__ import annotations

import _sitebuiltins
import builtins
import io
import os
import sys
import types
import zipimport
from collections.abc import Callable, Mapping

from batchctl.named_tuple import NamedTuple

_PLAIN = set("bBdEiIOPqsSuvx")
_WITH_VALUE = set("WX")
_SPAWNED = "--multiprocessing-fork"
_INTERRUPTED = 130
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR")
# Where the OpenSSL inside looks, as Debian's does; and where other systems keep the authorities that they trust.
_OPENSSL = ("/usr/lib/ssl/cert.pem", "/usr/lib/ssl/certs")
_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class _CommandLine(NamedTuple):
    """`kind`: "-c", "-m", "file" or "-" (standard input); `what`: the code, module or path; `rest`: its arguments."""

    kind: str
    what: str
    rest: tuple[str, ...]
    options: frozenset[str]
    warnings: tuple[str, ...]


def be_python(arguments: list[str]) -> int:
    """Run what `python ARGUMENTS` would; the exit code. SystemExit passes, anything else raised is shown and is 1."""
    if arguments[:1] in (["-V"], ["--version"]):
        sys.stdout.write(f"Python {sys.version.split()[0]}\n")
        return 0
    if arguments and arguments[0] == _SPAWNED:
        # How multiprocessing starts a child of a frozen program; it reads the numbers from sys.argv itself.
        sys.argv[:] = [sys.executable, *arguments]
        code = "from multiprocessing.spawn import freeze_support; freeze_support()"
        return _guarded(_CommandLine("-c", code, (), frozenset("I"), ()))
    try:
        line = _parsed(arguments)
    except ValueError as error:
        sys.stderr.write(f"{error}\nusage: [option] ... [-c cmd | -m mod | file | -] [arg] ...\n")
        return 2
    sys.argv[:] = [line.what if line.kind == "file" else line.kind, *line.rest]
    return _guarded(line)


def _parsed(arguments: list[str]) -> _CommandLine:
    """ValueError with CPython's words where they make no sense to it."""
    left = list(arguments)
    options: set[str] = set()
    warnings: list[str] = []

    def line(kind: str, what: str) -> _CommandLine:
        return _CommandLine(kind, what, tuple(left), frozenset(options), tuple(warnings))

    while left:
        word = left.pop(0)
        if word == "-" or not word.startswith("-"):
            return line("-", "<stdin>") if word == "-" else line("file", word)
        if word == "--check-hash-based-pycs" and left:
            left.pop(0)
            continue
        for place, letter in enumerate(word[1:], start=1):
            if letter in _PLAIN:
                options.add(letter)
                continue
            if letter not in _WITH_VALUE and letter not in "cm":
                raise ValueError(f"Unknown option: -{letter}")
            value = word[place + 1 :]
            if not value:
                if not left:
                    raise ValueError(f"Argument expected for the -{letter} option")
                value = left.pop(0)
            if letter in "cm":
                return line(f"-{letter}", value)
            if letter == "W":
                warnings.append(value)
            break
    return line("-", "<stdin>")


def _guarded(line: _CommandLine) -> int:
    try:
        _prepare(line)
        _run(line)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - as an interpreter does: whatever a script raises is shown
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == _run.__code__.co_filename:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return 0


def trusted_authorities(environ: Mapping[str, str], *, exists: Callable[[str], bool] = os.path.exists) -> str:
    """What SSL_CERT_FILE has to be for the bundled OpenSSL to trust what the system trusts; "" if nothing has to."""
    if any(environ.get(name) for name in _TRUST) or any(map(exists, _OPENSSL)):
        return ""
    return next(filter(exists, _AUTHORITIES), "")


def _add_site_names() -> None:
    """Those that `site` adds; a script that calls exit() is no less common for being no interactive one."""
    ends = {name: _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)") for name in ("exit", "quit")}
    vars(builtins).update(ends, help=_sitebuiltins._Helper())


def _prepare(line: _CommandLine) -> None:
    """What options can still change, and a `__main__` of the script's own."""
    if "u" in line.options:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(write_through=True)
    if line.warnings:
        import warnings

        sys.warnoptions.extend(line.warnings)
        warnings._processoptions(line.warnings)  # type: ignore[attr-defined]
    _add_site_names()
    authorities = trusted_authorities(os.environ)
    if authorities:
        os.environ[_TRUST[0]] = authorities
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main


def _run(line: _CommandLine) -> None:
    main = sys.modules["__main__"].__dict__
    safe = bool(line.options & {"I", "P"})  # nothing of the script's folder, nor of the current one, on sys.path
    if line.kind == "file" and not _is_source(line.what):
        import runpy

        sys.path.insert(0, os.path.abspath(line.what))
        runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined] # as CPython itself does
    elif line.kind == "file":
        path = os.path.abspath(line.what)
        try:
            with io.open_code(path) as file:
                text = file.read()
        except OSError as error:
            sys.stderr.write(f"can't open file {path!r}: [Errno {error.errno}] {error.strerror}\n")
            raise SystemExit(2) from None
        code = compile(text, line.what, "exec", dont_inherit=True)
        if not safe:
            sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
        main["__file__"], main["__cached__"] = path, None
        exec(code, main)
    elif line.kind == "-m":
        import runpy

        if not safe:
            sys.path.insert(0, os.getcwd())
        runpy._run_module_as_main(line.what)  # type: ignore[attr-defined]
    else:
        if not safe:
            sys.path.insert(0, "")
        typed = line.what
        if line.kind == "-":  # and only then: what -c finds on standard input is its code's own
            typed = sys.stdin.read() if sys.stdin is not None else ""
        exec(compile(typed, "<stdin>" if line.kind == "-" else "<string>", "exec", dont_inherit=True), main)


def _is_source(path: str) -> bool:
    """A file of Python text, in contrast to a folder or a zip with a `__main__` in it."""
    if os.path.isdir(path):
        return False
    try:
        zipimport.zipimporter(path)
    except zipimport.ZipImportError:
        return True
    return False
