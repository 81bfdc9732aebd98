"""What a model predicted becomes the rows of its file: `row` (from 0), the prediction's columns, `file_name`.

    DataFrame                its columns                dict                  a column for each key, where its values
    Series, list, 1-d array  one column                                       are single ones (an array's: key_0, ...)
    2-d array                prediction_0, ...          list of objects       a column for each key

A dict within a dict is columns key_inner. A single column without a name is called `prediction`. Of an image an
array is one row, whatever its shape; frames and lists have their rows. What has more dimensions is text in one cell.
The names show in csv and jsonl only. What has no rows, or no text that is the same twice, is refused (`checked`).
"""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

UNNAMED = "prediction"


def checked(prediction: Any) -> Any:
    """The prediction; TypeError where it is none, or where its text would differ from one run to the next."""
    if isinstance(prediction, dict):
        for value in prediction.values():
            checked(value)
    elif prediction is None:
        raise TypeError("predict returned None (is a return statement missing?)")
    elif isinstance(prediction, (set, frozenset)) or hasattr(prediction, "__next__"):
        raise TypeError("predict returned a %s, which has no rows in an order" % type(prediction).__name__)
    elif getattr(type(prediction), "__repr__", None) == object.__repr__ and not hasattr(prediction, "__array__"):
        raise TypeError("predict returned a %s, which is no table, array, list or text" % type(prediction).__name__)
    return prediction


def joined(predictions: List[Any]) -> Optional[Any]:
    """The predictions for the pieces of one file as one, as if there had been one piece; None for none."""
    if not predictions:
        return None
    if len(predictions) == 1:
        return predictions[0]
    first = predictions[0]
    if isinstance(first, list):
        return [entry for prediction in predictions for entry in prediction]
    if isinstance(first, dict):
        return {name: joined([prediction[name] for prediction in predictions]) for name in first}
    if _is_pandas(first):
        return importlib.import_module("pandas").concat(predictions, ignore_index=True)
    return importlib.import_module("numpy").concatenate([as_array(prediction) for prediction in predictions])


def rows_of(prediction: Any) -> int:
    """For how many rows this is a prediction."""
    if isinstance(prediction, dict):
        return rows_of(next(iter(prediction.values()))) if prediction else 0
    if isinstance(prediction, (list, tuple)) or _is_pandas(prediction):
        return len(prediction)
    array = as_array(prediction)
    return int(array.shape[0]) if array.ndim else 1


def frame_of(prediction: Optional[Any], *, file_name: str, one_row: bool) -> Any:
    """The rows of a file, as a DataFrame. `one_row`: it is an image's."""
    pandas = importlib.import_module("pandas")
    if prediction is None:
        frame = pandas.DataFrame()
    else:
        columns = _columns(pandas, prediction, None, one_row=one_row)
        lengths = sorted({len(column) for column in columns.values()})
        if len(lengths) > 1:
            raise ValueError("the columns of a prediction are of different lengths: %s" % lengths)
        frame = _side_by_side(pandas, columns)
    frame.insert(0, "row", range(len(frame)), allow_duplicates=True)
    # As objects: pandas' own text type cannot hold names that are not UTF-8.
    names = pandas.Series([file_name] * len(frame), dtype="object")
    frame.insert(len(frame.columns), "file_name", names, allow_duplicates=True)
    return frame


def _side_by_side(pandas: Any, columns: Dict[Any, Any]) -> Any:
    """Not DataFrame(columns): a prediction's own frame may have two columns of one name, which a dict cannot."""
    pieces = [piece if hasattr(piece, "columns") else piece.to_frame(name) for name, piece in columns.items()]
    return pandas.concat(pieces, axis=1) if len(pieces) > 1 else pieces[0].copy() if pieces else pandas.DataFrame()


def _columns(pandas: Any, prediction: Any, name: Any, *, one_row: bool) -> Dict[Any, Any]:
    """Series (or one DataFrame) by name, with plain indices."""
    if isinstance(prediction, dict):
        found: Dict[Any, Any] = {}
        for key, value in prediction.items():
            found.update(_columns(pandas, value, key if name is None else "%s_%s" % (name, key), one_row=one_row))
        return found
    if hasattr(prediction, "columns") and _is_pandas(prediction):
        return {name: _flat(prediction.reset_index(drop=True))}
    if name is None:
        name = getattr(prediction, "name", None) if _is_pandas(prediction) else None
        name = UNNAMED if name is None else name
    if _is_pandas(prediction):
        return {name: prediction.reset_index(drop=True)}
    if isinstance(prediction, (list, tuple)):
        return _columns_of_list(pandas, list(prediction), name)
    return _columns_of_array(pandas, as_array(prediction), name, one_row=one_row)


def _flat(frame: Any) -> Any:
    """Columns of several levels have their names joined; `row` and `file_name` beside them have one level."""
    if frame.columns.nlevels == 1:
        return frame
    names = ["_".join(str(level) for level in levels if level != "") for levels in frame.columns]
    return frame.set_axis(names, axis=1)


def _columns_of_list(pandas: Any, rows: List[Any], name: Any) -> Dict[Any, Any]:
    if rows and all(isinstance(row, dict) for row in rows):
        return {name: pandas.DataFrame(rows)}
    lists = [row.tolist() if hasattr(row, "tolist") else row for row in rows]
    widths = {len(row) if isinstance(row, (list, tuple)) else -1 for row in lists}
    flat = len(widths) == 1 and -1 not in widths and not any(isinstance(cell, list) for row in lists for cell in row)
    if not flat:
        return {name: pandas.Series(lists, dtype=None if -1 in widths and len(widths) == 1 else "object")}
    frame = pandas.DataFrame(lists)
    return {name: frame.set_axis(_numbered(name, len(frame.columns)), axis=1)}


def _columns_of_array(pandas: Any, array: Any, name: Any, *, one_row: bool) -> Dict[Any, Any]:
    if one_row and array.ndim and array.shape[0] != 1:
        array = array[None]
    if array.ndim == 0:
        array = array[None]
    if array.ndim == 1:
        return {name: pandas.Series(array)}
    if array.ndim == 2:
        return {name: pandas.DataFrame(array, columns=_numbered(name, array.shape[1]))}
    return {name: pandas.Series([row.tolist() for row in array], dtype="object")}


def _numbered(name: Any, count: int) -> List[Any]:
    return [name] if count == 1 else ["%s_%d" % (name, at) for at in range(count)]


def as_array(prediction: Any) -> Any:
    """Of numpy, for tensors, sparse matrices, single values."""
    numpy = importlib.import_module("numpy")
    if hasattr(prediction, "toarray"):  # scipy's sparse ones
        return prediction.toarray()
    if hasattr(prediction, "detach"):  # torch refuses to be an array while it is tracked, or on a GPU
        prediction = prediction.detach().cpu()
    if isinstance(prediction, numpy.ma.MaskedArray):  # what is masked has no value, though there is one beneath
        if not numpy.ma.is_masked(prediction):
            return prediction.data
        values = numpy.array(prediction.data, dtype="object")
        values[numpy.ma.getmaskarray(prediction)] = None
        return values
    if isinstance(prediction, (str, bytes)):
        return numpy.array([prediction], dtype="object").reshape(())
    return numpy.asarray(prediction)


def _is_pandas(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series))
