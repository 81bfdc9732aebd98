"""Results become bytes: one form per output format, the same under every interpreter and every pandas.

    azure   list: format(element) + "\\n"; DataFrame: to_csv(header=None, index=None, sep=" "), keywords from
            parallel_run_step.settings.json in the code folder laid over. Where a header is asked for, `header` holds
            the line that the same writer makes of the column names, and a list is refused: it has none.
    csv     RFC 4180 with "\\n" line ends. DataFrame: its own to_csv without index and header. A list of dicts: a column
            per key of the first one, missing keys empty, keys beyond them an error. Any other list: one column
            `prediction`. None and NaN are empty fields, all else is str(). `header` holds the header line.
    jsonl   one compact JSON object a line. DataFrame: {column: value}; a dict as it is; all else {"prediction": value}.
            null stands for None, NaN, NaT and the infinities, which JSON cannot say (pandas does the same).
    parquet no text but blocks of Arrow rows (arrow_rows.py), one for each DataFrame or list; columns as in csv.
            `header` holds a JSON list of the column types of each block of the last rows, those that are alike once.

UTF-8; undecodable bytes in file names travel through as they are (azure, csv) or as JSON escapes (jsonl). A number of
rows is the number of elements or frame rows, whatever line breaks they hold. pandas and numpy are never imported here:
a result can only be of their types when the script has imported them.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from types import GeneratorType

from .failure import ContractError
from .json_rows import jsonl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Set

AZURE = "azure"
CSV = "csv"
JSONL = "jsonl"
PARQUET = "parquet"
SETTINGS_FILE = "parallel_run_step.settings.json"
_SETTINGS_CAP = 1 << 20
# What would send the text elsewhere or make it bytes is not the script's to choose.
_NOT_OVERRIDABLE = ("path_or_buf", "mode", "encoding", "errors", "compression", "storage_options")
_STR = {str}


class Tables:
    """What a scorer of our own answers: a DataFrame for each file. Each becomes text by itself, so that a file's rows
    do not depend on which others are scored with it. Its length is that of all of them. `oddities`: what `accept` is to
    note, by kind."""

    def __init__(self, frames: List[Any], oddities: Optional[Dict[str, str]] = None) -> None:
        self.frames = frames
        self.oddities = oddities or {}

    def __len__(self) -> int:
        return sum(map(len, self.frames))


def accept(result: Any, note: Callable[[str, str], None]) -> Any:
    """The result as a list or DataFrame. ContractError for what the contract refuses; `note(kind, text)` for oddities.

    Called inside the timed `run`: materialising a generator is the script's own work.
    """
    if isinstance(result, list):
        return result
    if isinstance(result, Tables):
        for kind, text in result.oddities.items():
            note(kind, text)
        return result
    if isinstance(result, tuple):
        return list(result)
    if isinstance(result, GeneratorType):
        text = "run() is a generator; its elements were taken as the rows. Azure ML refuses that: return a list"
        note("generator", text)
        return list(result)
    if _is(result, "pandas", "DataFrame"):
        return result
    for module, name in (("numpy", "ndarray"), ("pandas", "Series")):
        if _is(result, module, name) and getattr(result, "ndim", 0) >= 1:
            text = "run() returned a %s.%s; its elements were taken as the rows. Azure ML refuses that: return a list"
            note(name, text % (module, name))
            return list(result)
    raise ContractError(
        "run() should return a list or a DataFrame with one element or row per item that succeeded; it returned %s"
        % ("None (is a return statement missing?)" if result is None else "a value of type " + type(result).__name__)
    )


def _is(result: object, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(result, kind)


class Renderer:
    """Turns accepted results into bytes. `header`: the header line (line end included) of the last rows, which
    is not in them: the run has one, at the head of its output. Always in csv, in the azure format where asked for."""

    def __init__(
        self, output_format: str, output_action: str, code: str, *, header: bool = False, separator: str = " "
    ) -> None:
        self.header = b""
        self._frame_columns: Optional[List[Any]] = None
        self._options: Dict[str, Any] = {}
        self._is_plain = False  # are the options of to_csv such that frame_text.py knows them?
        self._text_of: Optional[Callable[[Any, str], Optional[bytes]]] = None
        self._in_blocks = False
        self._names: Any = False  # to_csv's `header` for the header line: True, or other names for the columns
        if output_action == "summary_only":
            self.render: Callable[[Any], bytes] = _nothing
        elif output_format == AZURE:
            self._options = {"header": False, "index": False, "sep": separator}
            self._options.update(to_csv_overrides(code))
            if header:  # else a header that the settings file asks for comes with every DataFrame, as on Azure
                self._names, self._options["header"] = self._options["header"] or True, False
            self._is_plain = self._options == {"header": False, "index": False, "sep": self._options["sep"]}
            self.render = self._azure
        elif output_format == CSV:
            self.render = self._csv
        elif output_format == JSONL:
            self.render = _jsonl
        elif output_format == PARQUET:
            self._in_blocks = True
            self.render = self._blocks_of_one
        else:
            raise ContractError("output format %r is none of azure, csv, jsonl, parquet" % output_format)

    def render_tables(self, tables: Tables) -> bytes:
        """The rows of each, one after the other."""
        if self._in_blocks:
            return self._blocks(tables.frames)
        pieces: List[bytes] = []
        header = b""
        for frame in tables.frames:
            pieces.append(self.render(frame))
            if header and pieces[-1] and self.header != header:
                raise ContractError("files of one mini-batch have different columns, which csv cannot hold")
            header = self.header if pieces[-1] else header
        return b"".join(pieces)

    def _azure(self, result: Any) -> bytes:
        if type(result) is not list and not isinstance(result, list):
            return self._azure_frame(result)
        if not result:
            return b""
        if self._names:
            raise ContractError("run() returned a list where a header was asked for: only a DataFrame has column names")
        if _STR.issuperset(map(type, result)):  # exactly str: format() of a subclass may say something else
            return _encode("\n".join(result) + "\n")
        return _encode("".join(["{}\n".format(element) for element in result]))

    def _azure_frame(self, frame: Any) -> bytes:
        if not len(frame):
            return b""
        if self._names:
            columns = [list(frame.columns), list(frame.index.names)]
            if columns != self._frame_columns:
                self.header = _encode(frame.iloc[:0].to_csv(**dict(self._options, header=self._names)))
                self._frame_columns = columns
        found = self._known_text(frame, self._options["sep"]) if self._is_plain else None
        return _encode(self._text(frame)) if found is None else found

    def _text(self, frame: Any) -> str:
        try:
            return frame.to_csv(**self._options)  # type: ignore[no-any-return]
        except TypeError:
            import inspect  # which pandas has imported long ago

            known = inspect.signature(type(frame).to_csv).parameters
            unknown = [name for name in self._options if name not in known]
            if not unknown:
                raise
            version = getattr(sys.modules.get("pandas"), "__version__", "")
            text = "%s: DataFrame.to_csv of this pandas (%s) has no keyword %s"
            raise ContractError(text % (SETTINGS_FILE, version, ", ".join(unknown))) from None

    def _csv(self, result: Any) -> bytes:
        if type(result) is not list and not isinstance(result, list):
            return self._csv_frame(result)
        if not result:
            return b""
        if isinstance(result[0], dict):
            return self._csv_dicts(result)
        self._frame_columns, self.header = None, b"prediction\n"
        if _STR.issuperset(map(type, result)) and "" not in result:
            text = "\n".join(result)
            if not ("," in text or '"' in text or "\r" in text or text.count("\n") >= len(result)):
                return _encode(text + "\n")
        return _encode("".join([_line((_cell(element),)) for element in result]))

    def _csv_frame(self, frame: Any) -> bytes:
        if not len(frame):
            return b""
        columns = list(frame.columns)
        if columns != self._frame_columns:
            self.header = _encode(_line([str(name) for name in columns]))
            self._frame_columns = columns
        found = self._known_text(frame, ",")
        return _encode(frame.to_csv(index=False, header=False)) if found is None else found

    def _known_text(self, frame: Any, separator: str) -> Optional[bytes]:
        """What its to_csv would say, where we can tell; else None."""
        if self._text_of is None:
            from .frame_text import text_of  # compiled anew at each start: others do without

            self._text_of = text_of
        return self._text_of(frame, separator)

    def _csv_dicts(self, rows: Sequence[Any]) -> bytes:
        self._frame_columns = None
        columns = _keys(rows)
        if not columns:
            raise ContractError("run() returned a list of empty dicts: csv needs a column")
        lines = [_line([_cell(row.get(name)) for name in columns]) for row in rows]
        self.header = _encode(_line([str(name) for name in columns]))
        return _encode("".join(lines))

    def _blocks_of_one(self, result: Any) -> bytes:
        return self._blocks([result])

    def _blocks(self, results: Sequence[Any]) -> bytes:
        from .arrow_rows import block, dict_columns, frame_columns  # compiled anew at each start: others do without

        blocks: List[bytes] = []
        kinds: List[bytes] = []
        for result in results:
            if not len(result):
                continue
            if not isinstance(result, list):
                columns = frame_columns(result)
            elif isinstance(result[0], dict):
                columns = dict_columns(result, _keys(result))
            else:
                columns = {"prediction": result}
            rows, types = block(columns)
            blocks.append(rows)
            if types not in kinds:
                kinds.append(types)
        if blocks:
            self.header = b"[" + b",".join(kinds) + b"]"
        return b"".join(blocks)


def to_csv_overrides(code: str) -> Dict[str, Any]:
    """Keywords for DataFrame.to_csv from the code folder's settings file; {} without one, ContractError if damaged."""
    path = os.path.join(code, SETTINGS_FILE)
    try:
        found = json.loads(_settings_bytes(path).decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ContractError("%s: %s" % (path, error)) from error
    chosen = found
    for key in ("append_row", "pandas.DataFrame.to_csv"):
        chosen = chosen.get(key, {}) if isinstance(chosen, dict) else None
    if not isinstance(chosen, dict):
        raise ContractError('%s: it should look like {"append_row": {"pandas.DataFrame.to_csv": {"sep": ","}}}' % path)
    separator = chosen.get("sep", ",")
    if not isinstance(separator, str) or len(separator) != 1:
        raise ContractError("%s: sep must be one character, not %r" % (path, separator))
    return {name: value for name, value in chosen.items() if name not in _NOT_OVERRIDABLE}


def _settings_bytes(path: str) -> bytes:
    """All of a small regular file. Not blocked by a pipe: for as long as init() may take nobody would know why."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as handle:
        if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
            raise ValueError("is not a regular file")
        data = handle.read(_SETTINGS_CAP + 1)
    if len(data) > _SETTINGS_CAP:
        raise ValueError("is larger than 1 MiB")
    return data


def _nothing(_result: Any) -> bytes:
    return b""


def _jsonl(result: Any) -> bytes:
    return jsonl(result, is_frame=not isinstance(result, list))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _cell(value: Any) -> str:
    if type(value) is str:
        return value
    if value is None or _is_missing(value):
        return ""
    return str(value)


def _is_missing(value: Any) -> bool:
    """NaN of any float type, NaT, pandas.NA: the values that do not equal themselves, or cannot say."""
    try:
        return bool(value != value)  # noqa: PLR0124 (what math.isnan asks, for any type)
    except Exception:  # an array's truth is ambiguous, pandas.NA's undefined; only the latter is missing
        return type(value).__name__ == "NAType"


def _line(fields: Sequence[str]) -> str:
    """One csv line; our own quoting, because the csv module's treatment of a lone carriage return changed in 3.13."""
    if len(fields) == 1 and not fields[0]:
        return '""\n'  # an empty line would be no record
    quoted = []
    for field in fields:
        if "," in field or '"' in field or "\n" in field or "\r" in field:
            field = '"' + field.replace('"', '""') + '"'
        quoted.append(field)
    return ",".join(quoted) + "\n"


def _keys(rows: Sequence[Any]) -> List[Any]:
    """Of a list of dicts: those of the first one, beyond which no other may go."""
    columns = list(rows[0])
    known = set(columns)
    for row in rows:
        if not isinstance(row, dict):
            text = "run() returned a list whose first element is a dict and that also holds a %s"
            raise ContractError(text % type(row).__name__)
        if not known.issuperset(row):
            _refuse_keys(row, known)
    return columns


def _refuse_keys(row: Dict[Any, Any], known: Set[Any]) -> None:
    extra = ", ".join(sorted(repr(name) for name in row if name not in known))
    raise ContractError("run() returned a list of dicts with other keys than its first one has: %s" % extra)
