"""What runs inside the packed file to see that its parts work; also runs in the build environment, for comparison.

Started with a file of module names as its argument. Prints one JSON object: `failed`, names that cannot be imported and
why; `results`, what each library said. Every library is used: a frozen one may import and yet not work.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path


def sweep(names: list[str]) -> dict[str, str]:
    failed = {}
    for name in names:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it goes into the report
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def numbers() -> str:
    import numpy

    matrix = numpy.arange(9.0).reshape(3, 3) + numpy.eye(3)
    drawn = numpy.random.default_rng(1).integers(9)
    return f"{numpy.linalg.det(matrix):.3f} {numpy.fft.fft([1, 2, 3, 4]).real.sum():.1f} {drawn}"


def tables() -> str:
    import pandas
    import pyarrow
    import pyarrow.compute
    import pyarrow.dataset
    import pyarrow.parquet

    frame = pandas.DataFrame({"name": ["a", "b", None], "score": [0.5, 1.5, 2.5]})
    frame["day"] = pandas.date_range("2024-01-01", periods=3, tz="Europe/Berlin")
    file = io.BytesIO()
    frame.to_parquet(file, compression="zstd")
    again = pandas.read_parquet(io.BytesIO(file.getvalue()))
    assert again["score"].sum() == 4.5 and str(again["day"].dtype).endswith("Europe/Berlin]"), again.dtypes
    read = pandas.read_csv(io.StringIO(frame.to_csv(index=False)), engine="pyarrow")
    lines = pandas.read_json(io.StringIO(frame.to_json(orient="records", lines=True)), lines=True)
    total = pyarrow.compute.sum(pyarrow.table({"x": [1, 2, 3]})["x"]).as_py()
    return f"{len(again)} {len(read)} {len(lines)} {total} {frame.groupby('name').score.mean().to_dict()}"


def formats() -> str:
    """What pandas reads and writes without a package that is not inside."""
    import sqlite3
    import tempfile

    import pandas

    frame = pandas.DataFrame({"name": ["a", "b"], "score": [0.5, 1.5]})
    database = sqlite3.connect(":memory:")
    frame.to_sql("t", database, index=False)
    said = [pandas.read_sql("select * from t", database)]
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/x"
        frame.to_feather(place)
        said.append(pandas.read_feather(place))
        frame.to_stata(place, write_index=False)
        said.append(pandas.read_stata(place))
        frame.to_xml(place, index=False, parser="etree")
        said.append(pandas.read_xml(place, parser="etree"))
        frame.to_pickle(place)
        said.append(pandas.read_pickle(place))  # noqa: S301 - written one line above
        frame.to_csv(place, index=False, compression="zip")
        said.append(pandas.read_csv(place, compression="zip"))
    said.append(pandas.read_fwf(io.StringIO("name score\na    0.5\nb    1.5\n")))
    return " ".join(str(one["score"].sum()) for one in said) + f" {frame.to_html()[:6]}"


def zones() -> str:
    import zoneinfo
    from datetime import datetime

    zoneinfo.reset_tzpath(to=())  # as on a machine without a time zone database
    zoneinfo.ZoneInfo.clear_cache()
    moment = datetime(2024, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("America/New_York"))
    return f"{moment.utcoffset()} {len(zoneinfo.available_timezones()) > 500}"


def texts() -> str:
    import rich.console
    import rich.markdown
    import rich.syntax
    import tomli
    import yaml

    out = io.StringIO()
    console = rich.console.Console(file=out, width=40)
    console.print(rich.markdown.Markdown("# one\n\n* two"), rich.syntax.Syntax("x = 1", "python"))
    loaded = yaml.load("a: [1, 2]", Loader=yaml.CSafeLoader)
    return f"{tomli.loads('a = 1')} {loaded} {len(out.getvalue()) > 10}"


def machine() -> str:
    import psutil
    import pynvml

    with contextlib.suppress(pynvml.NVMLError):  # no driver on the machine is fine; a missing module is not
        pynvml.nvmlInit()
    return f"{psutil.Process().is_running()} {psutil.virtual_memory().total > 0}"


def metadata() -> str:
    import importlib.metadata

    names = ("pandas", "pyarrow", "numpy", "psutil", "nvidia-ml-py", "tomli", "PyYAML", "rich")
    return " ".join(importlib.metadata.version(name) for name in names)


def looking_around() -> str:
    import importlib.resources
    import inspect
    import pkgutil
    import sqlite3
    import ssl

    import pandas

    assert "def looking_around" in inspect.getsource(looking_around)
    found = {module.name for module in pkgutil.iter_modules(pandas.__path__)}
    zone = importlib.resources.files("tzdata.zoneinfo").joinpath("UTC").read_bytes()[:4]
    ssl.create_default_context()
    row = sqlite3.connect(":memory:").execute("select 41 + 1").fetchone()
    return f"{'core' in found} {zone!r} {row}"


def asserts() -> str:
    try:
        assert not USES, "fires"
    except AssertionError as error:
        return str(error)
    raise RuntimeError("an assert of a user's script did not fire")


USES: tuple[Callable[[], str], ...] = (
    numbers,
    tables,
    formats,
    zones,
    texts,
    machine,
    metadata,
    looking_around,
    asserts,
)


def main() -> int:
    warnings.simplefilter("ignore")
    names = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    results, failed = {}, {}
    for use in USES:
        try:
            results[use.__name__] = use()
        except Exception as error:  # noqa: BLE001 - as above
            failed[use.__name__] = f"{type(error).__name__}: {error}"
    failed.update(sweep(names))
    print(json.dumps({"failed": failed, "results": results}, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
