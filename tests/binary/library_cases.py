"""What must work inside batchctl's own Python, the bundled libraries: named pieces of code, each run by a worker.

A case's last statements assert; `folder` is a path to write in. Each is executed in a namespace of its own.
"""

from __future__ import annotations

LIBRARIES = {
    "pandas, csv": """
        import io, pandas as pd
        frame = pd.read_csv(io.StringIO("a,b\\n1,x\\n2,y\\n"))
        assert frame.to_csv(index=False) == "a,b\\n1,x\\n2,y\\n"
        assert pd.read_csv(io.StringIO("a;b\\n1;2\\n"), sep=None, engine="python").shape == (1, 2)
    """,
    "pandas, parquet": """
        import os, pandas as pd
        path = os.path.join(folder, "a.parquet")
        frame = pd.DataFrame({"n": [1, 2, 3], "t": ["a", None, "c"]})
        frame["d"] = pd.date_range("2024-01-01", periods=3, tz="UTC")
        for compression in ("snappy", "zstd", "gzip", "brotli", "lz4", None):
            frame.to_parquet(path, compression=compression)
            pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
    """,
    "pandas, json and html": """
        import io, pandas as pd
        frame = pd.DataFrame({"n": [1, 2], "t": ["a", "b"]})
        pd.testing.assert_frame_equal(pd.read_json(io.StringIO(frame.to_json(orient="records"))), frame)
        assert "<td>a</td>" in frame.to_html()
        assert frame.to_json(orient="records", lines=True).splitlines()[0] == '{"n":1,"t":"a"}'
    """,
    "pandas, feather": """
        import os, pandas as pd
        path = os.path.join(folder, "a.feather")
        frame = pd.DataFrame({"n": [1.5, 2.5]})
        frame.to_feather(path)
        pd.testing.assert_frame_equal(pd.read_feather(path), frame)
    """,
    "pandas, stata and xport readers": """
        import io, pandas as pd
        stored = io.BytesIO()
        pd.DataFrame({"n": [1.5, 2.5]}).to_stata(stored, write_index=False)
        assert pd.read_stata(io.BytesIO(stored.getvalue()))["n"].tolist() == [1.5, 2.5]
        import pandas.io.sas.sas7bdat, pandas.io.sas.sas_xport
    """,
    "pandas, sql": """
        import sqlite3, pandas as pd
        with sqlite3.connect(":memory:") as base:
            pd.DataFrame({"n": [1, 2]}).to_sql("t", base, index=False)
            assert pd.read_sql("select sum(n) as s from t", base)["s"].item() == 3
    """,
    "pandas, groups, windows, joins": """
        import pandas as pd
        frame = pd.DataFrame({"k": list("aabb"), "v": [1, 2, 3, 4]})
        assert frame.groupby("k")["v"].sum().to_dict() == {"a": 3, "b": 7}
        assert frame["v"].rolling(2).mean().tolist()[1:] == [1.5, 2.5, 3.5]
        assert len(frame.merge(frame, on="k")) == 8
        assert frame.pivot_table(index="k", values="v", aggfunc="max").loc["b", "v"] == 4
    """,
    "pandas, time zones": """
        import pandas as pd
        when = pd.Timestamp("2024-07-01 12:00", tz="Europe/Berlin")
        assert when.tz_convert("America/New_York").hour == 6
        assert str(pd.Timestamp("2024-01-01").tz_localize("Asia/Tokyo").utcoffset()) == "9:00:00"
    """,
    "pandas, without a machine's own engines": """
        import pandas as pd
        try:
            pd.read_excel("nothing.xlsx", engine="openpyxl")
        except (ImportError, FileNotFoundError):
            pass
        else:
            raise AssertionError("read what is not there")
    """,
    "numpy, linear algebra": """
        import numpy as np
        a = np.array([[4.0, 1.0], [2.0, 3.0]])
        assert np.allclose(np.linalg.inv(a) @ a, np.eye(2))
        assert np.allclose(sorted(np.linalg.eigvals(a)), [2, 5])
        u, s, v = np.linalg.svd(a)
        assert np.allclose(u * s @ v, a)
        assert np.allclose(np.linalg.solve(a, [1, 2]), np.linalg.lstsq(a, np.array([1, 2]), rcond=None)[0])
        big = np.random.default_rng(1).random((200, 200))
        assert np.allclose(big @ np.linalg.inv(big), np.eye(200), atol=1e-6)
    """,
    "numpy, fourier, random, polynomials, f2py": """
        import numpy as np
        assert np.allclose(np.fft.ifft(np.fft.fft([1, 2, 3])).real, [1, 2, 3])
        assert np.random.default_rng(7).integers(0, 10, 3).max() < 10
        assert np.polynomial.Polynomial([1, 2]).roots().tolist() == [-0.5]
        assert np.ma.masked_array([1, 2], [0, 1]).sum() == 1
        import numpy.f2py, numpy.testing, numpy.ctypeslib, numpy.lib.recfunctions, numpy.strings, numpy.rec, numpy.char
    """,
    "numpy, files": """
        import os, numpy as np
        path = os.path.join(folder, "a.npz")
        np.savez_compressed(path, a=np.arange(5))
        with np.load(path) as stored:
            assert stored["a"].tolist() == [0, 1, 2, 3, 4]
    """,
    "pyarrow, compute": """
        import pyarrow as pa, pyarrow.compute as pc
        column = pa.chunked_array([[1, 2], [3, None]])
        assert pc.sum(column).as_py() == 6
        assert pc.utf8_upper(pa.array(["a"])).to_pylist() == ["A"]
        assert pc.replace_substring_regex(pa.array(["a1"]), pattern="[0-9]", replacement="").to_pylist() == ["a"]
        table = pa.table({"k": ["a", "b", "a"], "v": [1, 2, 3]})
        assert sorted(table.group_by("k").aggregate([("v", "sum")]).to_pylist(), key=str) == [
            {"k": "a", "v_sum": 4}, {"k": "b", "v_sum": 2}]
        assert table.join(table, "k").num_rows == 5
    """,
    "pyarrow, dataset": """
        import os, pyarrow as pa, pyarrow.dataset as ds
        table = pa.table({"k": ["a", "b"], "v": [1, 2]})
        place = os.path.join(folder, "set")
        ds.write_dataset(table, place, format="parquet", partitioning=["k"], existing_data_behavior="delete_matching")
        found = ds.dataset(place, format="parquet", partitioning=["k"])
        assert found.to_table(filter=ds.field("v") > 1).column("v").to_pylist() == [2]
    """,
    "pyarrow, parquet": """
        import os, pyarrow as pa, pyarrow.parquet as pq
        path = os.path.join(folder, "b.parquet")
        pq.write_table(pa.table({"v": list(range(1000))}), path, compression="zstd")
        assert pq.read_metadata(path).num_rows == 1000
        assert pq.ParquetFile(path).schema_arrow.names == ["v"]
    """,
    "pyarrow, csv, json, ipc, feather": """
        import io, os, pyarrow as pa, pyarrow.csv, pyarrow.json, pyarrow.feather, pyarrow.ipc
        table = pa.csv.read_csv(io.BytesIO(b"a,b\\n1,2.5\\n"))
        assert table.to_pylist() == [{"a": 1, "b": 2.5}]
        sink = io.BytesIO()
        pa.csv.write_csv(table, sink)
        assert sink.getvalue().splitlines()[1] == b"1,2.5"
        assert pa.json.read_json(io.BytesIO(b'{"a": 1}\\n')).to_pylist() == [{"a": 1}]
        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table)
        assert pa.ipc.open_stream(stream.getvalue()).read_all().equals(table)
        pa.feather.write_feather(table, os.path.join(folder, "b.feather"))
    """,
    "pyarrow, file systems and compression": """
        import pyarrow as pa, pyarrow.fs as fs
        assert fs.LocalFileSystem().get_file_info(folder).type == fs.FileType.Directory
        for codec in ("zstd", "lz4", "gzip", "brotli", "snappy"):
            assert pa.decompress(pa.compress(b"x" * 999, codec), 999, codec).to_pybytes() == b"x" * 999
    """,
    "pyarrow, time zones": """
        import datetime, pyarrow as pa, pyarrow.compute as pc
        when = pa.array([datetime.datetime(2024, 7, 1, 12)], pa.timestamp("s", tz="Europe/Berlin"))
        assert pc.hour(when).to_pylist() == [14]
    """,
    "psutil": """
        import os, psutil
        assert psutil.Process().pid == os.getpid()
        assert psutil.virtual_memory().total > 0
        assert psutil.cpu_count() >= 1
        assert psutil.Process().memory_info().rss > 0
        assert psutil.Process().memory_full_info().uss > 0
        assert psutil.net_if_addrs() and psutil.boot_time() > 0
    """,
    "pynvml": """
        import pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            assert str(error)
        else:
            assert pynvml.nvmlDeviceGetCount() >= 0
            pynvml.nvmlShutdown()
    """,
    "tomli, compiled": """
        import sys, tomli
        assert tomli.loads("a = [1, 2]\\n[b]\\nc = 1979-05-27") ["a"] == [1, 2]
        import tomli._parser
        assert tomli._parser.__file__.endswith(".so"), tomli._parser.__file__
        assert [name for name in sys.modules if name.endswith("__mypyc")], "not the compiled wheel"
        try:
            tomli.loads("a = ")
        except tomli.TOMLDecodeError:
            pass
    """,
    "yaml, by libyaml": """
        import yaml
        assert yaml.__with_libyaml__
        assert yaml.load("a: [1, 2]", Loader=yaml.CSafeLoader) == {"a": [1, 2]}
        assert yaml.dump({"a": 1}, Dumper=yaml.CSafeDumper) == "a: 1\\n"
        assert yaml.safe_load("b: yes") == {"b": True}
    """,
    "rich": """
        import io
        from rich.console import Console
        from rich.markdown import Markdown
        from rich.progress import Progress
        from rich.syntax import Syntax
        from rich.table import Table
        console = Console(file=io.StringIO(), width=60, force_terminal=True)
        table = Table("a")
        table.add_row("caf\\u00e9 \\u4e2d :smile:")
        console.print(table, Markdown("# x"), Syntax("a = 1", "python"))
        with Progress(console=console) as progress:
            progress.advance(progress.add_task("x"), 1)
        assert "caf\\u00e9" in console.file.getvalue()
    """,
    "dateutil and what comes along": """
        import dateutil.parser, dateutil.rrule, dateutil.tz
        assert dateutil.parser.parse("1 May 2024").month == 5
        assert dateutil.tz.gettz("Europe/Berlin") is not None
    """,
}
