"""Are the rows of a contestant those of the others? Compared by content: formats, orders and part files may differ."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from tests.bench.workloads import Prepared

_TYPES = {"amount": pyarrow.float64(), "score": pyarrow.float64(), "user": pyarrow.string(), "file": pyarrow.string()}


class WrongRowsError(Exception):
    """What came out is not what the others made of the same input."""


class Judge:
    """Of one workload. The first output it sees is what the others are compared with."""

    def __init__(self, inputs: Prepared) -> None:
        self.inputs = inputs
        self._wanted: pyarrow.Table | None = None

    def check(self, out: Path, *, items: int, header: bool) -> str:
        """The SHA-256 of the predictions file ("" where there are part files); WrongRowsError where rows are wrong.

        `items` is how many of the inputs, from the first one, were to be scored.
        """
        found = self._read(out, header=header)
        wanted_rows = self.inputs.rows * items // self.inputs.items
        if found.num_rows != wanted_rows:
            raise WrongRowsError(f"{found.num_rows} rows instead of {wanted_rows} in {out}")
        if self._wanted is None and items == self.inputs.items:
            self._wanted = found
        if self._wanted is not None and not self._same(found, self._wanted.slice(0, wanted_rows)):
            raise WrongRowsError(f"the rows in {out} are not those of the others")
        file = out / "predictions.csv"
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""

    def _same(self, found: pyarrow.Table, wanted: pyarrow.Table) -> bool:
        if not self.inputs.workload.tolerance:
            return bool(found.equals(wanted))
        return all(map(self._near, found.columns, wanted.columns))

    def _near(self, found: pyarrow.ChunkedArray, wanted: pyarrow.ChunkedArray) -> bool:
        if not pyarrow.types.is_floating(found.type):
            return bool(found.equals(wanted))
        apart = pyarrow.compute.max(pyarrow.compute.abs(pyarrow.compute.subtract(found, wanted))).as_py()
        return apart is not None and apart <= self.inputs.workload.tolerance

    def _read(self, out: Path, *, header: bool) -> pyarrow.Table:
        """Sorted by the first column."""
        workload = self.inputs.workload
        if not workload.columns:
            lines = sorted((out / "predictions.csv").read_bytes().splitlines())
            return pyarrow.table({"line": pyarrow.array(lines, pyarrow.binary())})
        columns = list(workload.columns)
        if workload.output_format == "parquet":
            files = sorted(out.glob("*.parquet"))
            table = pyarrow.concat_tables([pyarrow.parquet.read_table(file, columns=columns) for file in files])
        else:
            table = pyarrow.csv.read_csv(
                out / "predictions.csv",
                pyarrow.csv.ReadOptions(column_names=columns, skip_rows=int(header)),
                pyarrow.csv.ParseOptions(delimiter=" " if workload.output_format == "azure" else ","),
                pyarrow.csv.ConvertOptions(column_types={name: _type(name) for name in columns}),
            )
        table = table.cast(pyarrow.schema([(name, _type(name)) for name in columns]))
        return table.take(pyarrow.compute.sort_indices(table[columns[0]])).combine_chunks()


def _type(name: str) -> pyarrow.DataType:
    if name in _TYPES:
        return _TYPES[name]
    return pyarrow.float32() if name.startswith("e") else pyarrow.int64()
