"""What must work inside batchctl's own Python, the standard library: named pieces of code, each run by a worker.

A case's last statements assert; `folder` is a path to write in. Each is executed in a namespace of its own.
"""

from __future__ import annotations

STANDARD = {
    "ssl": """
        import ssl, hashlib, hmac
        context = ssl.create_default_context()
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert ssl.get_default_verify_paths().openssl_cafile
        assert hashlib.sha3_256(b"x").hexdigest() and hashlib.new("sha512_256", b"x").hexdigest()
        assert hmac.digest(b"k", b"m", "sha256")
    """,
    "ssl, a handshake": """
        import ssl
        client, server = ssl.MemoryBIO(), ssl.MemoryBIO()
        peer = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(server, client, server_hostname="localhost")
        try:
            peer.do_handshake()
        except ssl.SSLWantReadError:
            pass
        assert client.read()[:1] == b"\\x16"
    """,
    "sqlite3": """
        import sqlite3
        with sqlite3.connect(":memory:") as base:
            assert base.execute("select json_extract('{\\"a\\": 3}', '$.a')").fetchone() == (3,)
            base.execute("create virtual table t using fts5(x)")
    """,
    "compression": """
        import bz2, gzip, lzma, os, tarfile, zipfile, zlib
        for module in (bz2, gzip, lzma, zlib):
            assert module.decompress(module.compress(b"x" * 999)) == b"x" * 999
        path = os.path.join(folder, "a.tar.xz")
        with tarfile.open(path, "w:xz") as archive:
            archive.add("/proc/self/comm", arcname="x")
        with zipfile.ZipFile(os.path.join(folder, "a.zip"), "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr("x", b"x")
    """,
    "ctypes": """
        import ctypes, ctypes.util
        assert ctypes.CDLL(None).getpid() == __import__("os").getpid()
        assert ctypes.util.find_library("c")
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)
        assert callback(41) == 42
    """,
    "curses": """
        import curses, curses.panel, curses.textpad, os
        curses.setupterm("xterm", os.open(os.devnull, os.O_WRONLY))
        assert curses.tigetnum("colors") >= 8
    """,
    "zoneinfo": """
        import datetime, zoneinfo
        zone = zoneinfo.ZoneInfo("Europe/Berlin")
        assert datetime.datetime(2024, 7, 1, tzinfo=zone).utcoffset() == datetime.timedelta(hours=2)
        assert len(zoneinfo.available_timezones()) > 400
    """,
    "zoneinfo, the machine has none": """
        import datetime, zoneinfo
        zoneinfo.reset_tzpath(to=())
        zoneinfo.ZoneInfo.clear_cache()
        try:
            zone = zoneinfo.ZoneInfo.no_cache("America/New_York")
            assert datetime.datetime(2024, 1, 1, tzinfo=zone).utcoffset() == datetime.timedelta(hours=-5)
            assert "Asia/Tokyo" in zoneinfo.available_timezones()
        finally:
            zoneinfo.reset_tzpath()
    """,
    "encodings": """
        import encodings.aliases, codecs
        lacking = []
        for name in sorted(set(encodings.aliases.aliases.values())):
            try:
                codecs.lookup(name)
            except LookupError:
                lacking.append(name)
        assert set(lacking) <= {"mbcs", "oem"}, lacking
        assert "caf\\u00e9".encode("cp1252") == b"caf\\xe9" and "\\u4e2d".encode("big5") and "a.b".encode("idna")
    """,
    "asserts fire": """
        try:
            exec(compile("assert 1 == 2, 'fires'", "<case>", "exec"))
        except AssertionError as error:
            assert str(error) == "fires"
        else:
            raise RuntimeError("assert was dropped")
        import sys
        if sys.flags.optimize != 0:
            raise RuntimeError("optimised")
        if not __debug__:
            raise RuntimeError("not __debug__")
    """,
    "subprocess": """
        import subprocess, sys
        assert subprocess.run(["/bin/echo", "x"], capture_output=True, check=True).stdout == b"x\\n"
        assert subprocess.check_output("echo $((1+1))", shell=True, text=True) == "2\\n"
    """,
    "subprocess, sys.executable": """
        import subprocess, sys
        code = "import numpy, sys; print(sys.argv, numpy.ones(2).sum())"
        said = subprocess.check_output([sys.executable, "-c", code, "a"])
        assert said == b"['-c', 'a'] 2.0\\n", said
        said = subprocess.check_output([sys.executable, "-m", "json.tool"], input=b'{"a":1}')
        assert said.split() == [b"{", b'"a":', b"1", b"}"], said
    """,
    "importlib.metadata": """
        import importlib.metadata as metadata
        for name in ("pandas", "numpy", "pyarrow", "psutil", "PyYAML", "rich", "tomli", "nvidia-ml-py"):
            assert metadata.version(name)[0].isdigit(), name
        import pandas
        assert metadata.version("pandas") == pandas.__version__
    """,
    "importlib.resources": """
        import importlib.resources as resources, os, sys
        os.makedirs(os.path.join(folder, "pack"), exist_ok=True)
        for name in ("__init__.py", "data.txt"):
            open(os.path.join(folder, "pack", name), "w").close()
        sys.path.insert(0, folder)
        assert resources.files("pack").joinpath("data.txt").is_file()
    """,
    "pickle, copy, dataclasses, enum": """
        import copy, dataclasses, enum, pickle, decimal, fractions
        value = [decimal.Decimal("1.5"), fractions.Fraction(1, 3), {1}]
        assert pickle.loads(pickle.dumps(copy.deepcopy(value))) == value
    """,
    "asyncio": """
        import asyncio
        async def child():
            made = await asyncio.create_subprocess_exec("/bin/echo", "x", stdout=asyncio.subprocess.PIPE)
            return (await made.communicate())[0]
        assert asyncio.run(child()) == b"x\\n"
    """,
    "threads": """
        import concurrent.futures, threading
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert list(pool.map(str, range(5))) == list("01234")
    """,
    "locale, gettext, email, xml": """
        import email, gettext, locale, xml.etree.ElementTree as tree, xml.sax, html.parser, http.server, urllib.request
        assert email.message_from_string("A: b\\n\\nc")["A"] == "b"
        assert tree.fromstring("<a><b/></a>").find("b") is not None
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
    """,
    "unittest, doctest, pdb, profilers": """
        import cProfile, doctest, pdb, profile, pstats, timeit, trace, tracemalloc, unittest.mock
        assert timeit.timeit("1", number=1) >= 0
        profiler = cProfile.Profile()
        assert profiler.runcall(sum, [1, 2]) == 3
    """,
}
