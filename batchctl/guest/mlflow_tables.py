"""Tables as DataFrames, in pieces of at most `chunk_rows` rows (0: in one), each column of one type in all pieces.

`types` are those that the signature names (mlflow_input.column_types). What pandas would only find out at the end of a
file, that a column of integers has a gap far down, is found out before the first piece is given away. Where such
columns cannot be told apart, the file is read in one piece.
"""

from __future__ import annotations

import csv
import importlib
import itertools
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Optional, Set

    Types = Dict[str, str]

_DATES = "datetime"
_OTHER_FORMS = ("inputs", "instances", "input_data")  # of mlflow's and Azure's online servers


def csv_frames(path: str, types: Types, chunk_rows: int) -> Iterator[Any]:
    """As pandas.read_csv reads it."""
    pandas = importlib.import_module("pandas")
    # low_memory would guess types in pieces of its own and leave numbers and text in one column.
    options: Dict[str, Any] = {"low_memory": False}
    if types:
        options["dtype"] = {name: "object" if kind == _DATES else kind for name, kind in types.items()}
    elif chunk_rows:
        guessed = _guessed(pandas, path, chunk_rows)
        if guessed is None:
            chunk_rows = 0
        else:
            options["dtype"] = guessed
    dates = _Dates(pandas, types)
    if not chunk_rows:
        yield dates.read(_in_place(path, pandas.read_csv(path, **options)))
        return
    with pandas.read_csv(path, chunksize=chunk_rows, **options) as pieces:
        for number, piece in enumerate(pieces):
            if not number and _is_out_of_place(path, piece):  # so far: all of it decides
                break
            yield dates.read(piece)
        else:
            return
    yield dates.read(_in_place(path, pandas.read_csv(path, **options)))


def _in_place(path: str, frame: Any) -> Any:
    """The frame; ValueError where rows end with a comma more than the header has. Where rows are longer than the header
    pandas takes what stands first for the names of the rows, and all values would be one column off."""
    if _is_out_of_place(path, frame):
        raise ValueError("its rows end with a separator and its header does not, so the columns cannot be told")
    return frame


def _is_out_of_place(path: str, frame: Any) -> bool:
    if not len(frame) or not frame.iloc[:, -1].isna().all():
        return False
    with open(path, newline="", encoding="utf-8-sig") as handle:
        header, first = itertools.islice(filter(None, csv.reader(handle)), 2)
    return len(first) > len(header) and not first[-1]


def _guessed(pandas: Any, path: str, chunk_rows: int) -> Optional[Types]:
    """The types of columns that differ from piece to piece, as a single reading would find them; None: cannot say."""
    kinds: Dict[Any, Set[str]] = {}
    count = 0
    with pandas.read_csv(path, chunksize=chunk_rows, low_memory=False) as pieces:
        for piece in pieces:
            count += 1
            if count == 1 and len(piece) < chunk_rows:
                return {}
            for name, column in piece.items():
                kinds.setdefault(name, set()).add(_kind(column))
    found = {}
    for name, several in kinds.items():
        if len(several) == 1 and "mixed" not in several:
            continue
        if several <= {"int", "float", "none"}:
            found[name] = "float64"
        elif "text" in several and "mixed" not in several:
            found[name] = "str"
        else:
            return None
    return found


def _kind(column: Any) -> str:
    values = column.dropna()
    if not len(values):
        return "none"
    kind = column.dtype.kind
    if kind in "ifb":
        return {"i": "int", "f": "float", "b": "bool"}[kind]
    return "text" if all(isinstance(value, str) for value in values) else "mixed"


def parquet_frames(path: str, types: Types, chunk_rows: int) -> Iterator[Any]:
    """As pyarrow makes pandas' frames of it."""
    try:
        parquet, arrow = importlib.import_module("pyarrow.parquet"), importlib.import_module("pyarrow")
    except ImportError:
        pandas = importlib.import_module("pandas")
        yield _fitted(pandas.read_parquet(path), types, _Dates(pandas, types), exactly=True)
        return
    dates = _Dates(importlib.import_module("pandas"), types)
    with open(path, "rb") as handle:
        file = parquet.ParquetFile(handle)
        schema = file.schema_arrow
        categories = any(arrow.types.is_dictionary(field.type) for field in schema)
        if not chunk_rows or file.metadata.num_rows <= chunk_rows or categories:
            yield _fitted(file.read().to_pandas(), types, dates, exactly=True)
            return
        gaps, numpy = _with_gaps(file, arrow), importlib.import_module("numpy")
        for batch in file.iter_batches(batch_size=chunk_rows):
            frame = arrow.Table.from_batches([batch]).to_pandas()
            for name in gaps:
                kind = frame[name].dtype if name in frame else None
                if isinstance(kind, numpy.dtype) and kind.kind in "iub":  # pandas' own types know gaps
                    frame[name] = frame[name].astype("object" if kind.kind == "b" else "float64")
            yield _fitted(frame, types, dates, exactly=True)


def _with_gaps(file: Any, arrow: Any) -> List[str]:
    """Columns of integers or booleans with something missing: numpy has another type for all of such a column."""
    fields = list(file.schema_arrow)
    names = [field.name for field in fields if arrow.types.is_integer(field.type) or arrow.types.is_boolean(field.type)]
    return [name for name in names if any(batch.column(0).null_count for batch in file.iter_batches(columns=[name]))]


def json_frames(path: str, types: Types, chunk_rows: int) -> Iterator[Any]:
    """.jsonl: an object a line. .json: a list of objects, one object, or what mlflow's own servers take as
    `dataframe_records` and `dataframe_split`, with that name around it or (split) without."""
    pandas = importlib.import_module("pandas")
    with open(path, encoding="utf-8-sig") as handle:  # some editors put a byte order mark before it
        found: Any = list(_lines(handle)) if path.lower().endswith(".jsonl") else json.load(handle)
    frame = _fitted(_frame_of(pandas, found), types, _Dates(pandas, types), exactly=False)
    step = chunk_rows or max(1, len(frame))
    for first in range(0, len(frame), step):
        yield frame.iloc[first : first + step].reset_index(drop=True)


def _lines(handle: Iterable[str]) -> Iterator[Any]:
    for number, line in enumerate(handle, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError("line %d: %s at character %d" % (number, error.msg, error.pos + 1)) from None


def _frame_of(pandas: Any, found: Any) -> Any:
    if isinstance(found, dict):
        found = _unwrapped(found)
    if (
        isinstance(found, dict)
        and "columns" in found
        and "data" in found
        and not set(found) - {"columns", "data", "index"}
    ):
        return pandas.DataFrame(found["data"], columns=found["columns"])
    rows = [found] if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise ValueError("%.40r is no table: a list of objects is needed" % (rows,))
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError("row %d is a %s, not an object" % (number, type(row).__name__))
    return pandas.DataFrame(rows)


def _unwrapped(found: Dict[str, Any]) -> Any:
    """What stands in an object of one of the forms that are known; ValueError for those that are not taken, which
    would else be one odd row."""
    for name in ("dataframe_split", "dataframe_records"):
        if name in found:
            others = sorted(set(found) - {name})
            if others:
                raise ValueError("beside %r there is %r, which is not taken" % (name, others[0]))
            return found[name]
    for name in _OTHER_FORMS:
        if set(found) == {name} and isinstance(found[name], (dict, list)):
            raise ValueError("a JSON of %r is not taken: write a list of objects, or 'dataframe_split'" % name)
    columns = list(found.values())
    if columns and all(isinstance(column, dict) and column for column in columns):
        places = {tuple(column) for column in columns}
        if places == {tuple(map(str, range(len(columns[0]))))}:
            raise ValueError("the rows stand in columns: write it with to_json(orient='records')")
    return found


def _fitted(frame: Any, types: Types, dates: _Dates, *, exactly: bool) -> Any:
    """Columns as the types that the signature names, where no value changes by it; of JSON, whose numbers are text,
    floats are rounded. All else is left for mlflow to refuse."""
    for name, kind in types.items():
        if name not in frame or kind in ("object", _DATES) or str(frame[name].dtype) == kind:
            continue
        column = frame[name]
        if getattr(column.dtype, "kind", "") not in "iuf" or kind == "bool":
            continue
        try:
            other = column.astype(kind)
        except (ValueError, TypeError):  # a gap in what should be integers
            continue
        if ((other == column) | column.isna()).all() or (kind.startswith("float") and not exactly):
            frame[name] = other
    return dates.read(frame)


class _Dates:
    """Text becomes times, in the format of the first one of the file: pieces must not each guess their own."""

    def __init__(self, pandas: Any, types: Types) -> None:
        self._pandas = pandas
        self._names = [name for name, kind in types.items() if kind == _DATES]
        self._formats: Dict[str, Optional[str]] = {}

    def read(self, frame: Any) -> Any:
        for name in self._names:
            if name not in frame or getattr(frame[name].dtype, "kind", "") == "M":
                continue
            values = frame[name].dropna()
            if len(values) and getattr(values.dtype, "kind", "") in "iufb":
                raise ValueError("column %r: %r is no time, write times as text" % (name, values.iloc[0].item()))
            if len(values) and name not in self._formats:
                self._formats[name] = self._guess(values.iloc[0])
            frame[name] = self._pandas.to_datetime(frame[name], format=self._formats.get(name))
        return frame

    def _guess(self, text: Any) -> Optional[str]:
        guess = getattr(importlib.import_module("pandas.tseries.api"), "guess_datetime_format", None)
        return guess(text) if guess is not None and isinstance(text, str) else None
