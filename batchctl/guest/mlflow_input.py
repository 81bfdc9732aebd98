"""A file becomes what a model of MLflow's takes: tables become DataFrames, images become arrays, as its signature says.

    .csv  .parquet .pqt  .json .jsonl            DataFrame; an array where the signature is one unnamed tensor
    .png .jpg .jpeg .tif .tiff .bmp .gif         array (height, width[, channels]), the first picture of several

Columns that the signature names are read as the types it names; what then does not fit, mlflow refuses in its own
words. An image is reshaped to the signature's tensor (no axes are exchanged) and has its type; without one it is uint8,
or what its file holds where that is deeper.
"""

from __future__ import annotations

import importlib
import os
import sys

from .mlflow_tables import csv_frames, json_frames, parquet_frames
from .named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional

TABLES: Dict[str, Callable[..., Iterator[Any]]] = {
    ".csv": csv_frames,
    ".parquet": parquet_frames,
    ".pqt": parquet_frames,
    ".json": json_frames,
    ".jsonl": json_frames,
}
IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")


class Piece(NamedTuple):
    """What one predict is given, and how many rows that is."""

    data: Any
    rows: int


class Reader:
    """Reads files for a model with this input schema (None: it has no signature)."""

    def __init__(self, schema: Optional[Any]) -> None:
        tensors = schema is not None and schema.is_tensor_spec()
        self._tensors: List[Any] = list(schema.inputs) if schema is not None and tensors else []
        self._types = column_types(schema) if schema is not None and not tensors else {}

    def is_image(self, path: str) -> bool:
        return _suffix(path) in IMAGES

    def pieces(self, path: str, chunk_rows: int) -> Iterator[Piece]:
        """Pieces of at most so many rows (0: any number); none where a table has no rows. Raises what reading does."""
        suffix = _suffix(path)
        if suffix in IMAGES:
            yield Piece(self._image(path), 1)
        elif suffix in TABLES:
            for frame in TABLES[suffix](path, self._types, chunk_rows):
                if len(frame):
                    yield Piece(self._table(frame), len(frame))
        else:
            known = " ".join((*TABLES, *IMAGES))
            raise ValueError("File type '%s' is not supported (those that are: %s)" % (suffix.lstrip("."), known))

    def _table(self, frame: Any) -> Any:
        """The frame; for a single unnamed tensor, whose type mlflow wants to the bit, its values as that."""
        if len(self._tensors) != 1 or self._tensors[0].name is not None or len(frame.columns) == 1:
            return frame
        tensor = self._tensors[0]
        shape = [len(frame), *tensor.shape[1:]]
        columns = len(frame.columns)
        if -1 in shape or _product(shape[1:]) != columns:
            return frame
        return exactly(frame.to_numpy(), tensor.type).reshape(shape)

    def _image(self, path: str) -> Any:
        array = _pixels(path)
        if not self._tensors:
            return array
        if len(self._tensors) > 1:
            names = ", ".join(str(tensor.name) for tensor in self._tensors)
            raise ValueError("an image is one tensor, and the model takes several: %s" % names)
        tensor = self._tensors[0]
        array = exactly(reshaped(array, tensor.shape), tensor.type)
        return array if tensor.name is None else {tensor.name: array}


def column_types(schema: Any) -> Dict[str, str]:
    """Names of numpy types by column, of those that the signature names: "object" for text, "datetime" for times.

    Left out are columns without a name, those of compound types, and numbers that may be missing, which the types of
    numpy cannot say.
    """
    found = {}
    for column in schema.inputs:
        name, kind = column.name, getattr(column.type, "name", "")
        if name is None or not hasattr(column.type, "to_numpy"):
            continue
        if kind in ("string", "binary"):
            found[name] = "object"
        elif kind == "datetime":
            found[name] = "datetime"
        elif getattr(column, "required", True) or kind in ("float", "double"):
            found[name] = str(column.type.to_numpy())
    return found


def exactly(array: Any, kind: Any) -> Any:
    """The array as this type of numpy; ValueError where integers cannot hold what is in it, and would wrap around."""
    wanted = importlib.import_module("numpy").dtype(kind)
    if wanted.kind in "iu" and array.dtype.kind in "iuf" and array.size:
        low, high = array.min(), array.max()
        limits = importlib.import_module("numpy").iinfo(wanted)
        whole = array.dtype.kind != "f" or (array == array.round()).all()
        if not (whole and limits.min <= low and high <= limits.max):  # a gap is not whole either
            raise ValueError("values from %s to %s do not fit the tensor's type, %s" % (low, high, wanted))
    return array.astype(wanted)


def reshaped(array: Any, shape: Any) -> Any:
    """The array with this shape, in which -1 is any length; ValueError where its size does not allow that."""
    wanted = list(shape)
    for candidate in (array[None], array):
        if len(wanted) == candidate.ndim and all(w in (-1, have) for w, have in zip(wanted, candidate.shape)):
            return candidate
    if -1 in wanted:  # the first one that is open is the number of images
        wanted[wanted.index(-1)] = 1
    try:
        return array.reshape(wanted)
    except ValueError:
        raise ValueError("an image of shape %s does not fit a tensor of %s" % (array.shape, tuple(shape))) from None


def _pixels(path: str) -> Any:
    try:
        pictures = importlib.import_module("PIL.Image")
    except ImportError as error:
        text = "reading images takes Pillow, which %s does not have; install it there (%s)"
        raise RuntimeError(text % (sys.executable, error)) from None
    numpy = importlib.import_module("numpy")
    with pictures.open(path) as picture:
        if picture.mode in ("P", "PA"):  # numbers of colours become the colours
            picture = picture.convert("RGBA" if "transparency" in picture.info or picture.mode == "PA" else "RGB")
        elif picture.mode == "1":
            picture = picture.convert("L")
        return numpy.asarray(picture)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _product(lengths: List[int]) -> int:
    found = 1
    for length in lengths:
        found *= length
    return found
