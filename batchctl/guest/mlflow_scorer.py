"""Our own scorer, for models of MLflow's that come without a script: what init() and run() of one would be.

    file -> mlflow_input: pieces of model input -> predict -> mlflow_output: a frame of row, predictions, file_name

Files are scored one by one, as on Azure: no predict sees rows of two. A table of more rows than `chunk_rows` is
predicted in pieces, each column of one type in all of them, and their predictions are put together before they become
rows: for models that look at each row by itself that is what a single predict gives. A model that gives another number
of predictions than it was given rows shows that it does not, and gets the whole table at once.

Any failure is that of the file at which it happened. It fails the attempt, so that isolation finds the file and the
others are answered without it; what was predicted for those before it is kept for that, and not predicted again.
"""

from __future__ import annotations

import importlib
import os

from .config import Job
from .context import MiniBatchContext
from .failure import FileError
from .garbage import collecting_rarely
from .input_check import look
from .mlflow_input import Reader
from .mlflow_output import checked, frame_of, joined, rows_of
from .rows import Tables
from .script import Scorer, settle_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from .input_check import Seen

_MOST_KEPT = 8  # mini-batches; parts of several may be in a worker's hands at a time


class MlflowScorer(Scorer):
    """Made, it has imported mlflow; `init` loads the model, and raises what that raises."""

    with_context = True
    per_file = True
    separator = ","

    def __init__(self, job: Job) -> None:
        settle_in([], [job.script, *job.argv], job.logging_level)
        # Scoring needs no network, so none is used: mlflow would tell its makers that it was imported.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # By mini-batch, the oldest failure first: path -> what the file was, its predictions.
        self._kept: Dict[int, Dict[str, Tuple[Optional[Seen], Any]]] = {}
        self._oddities: Dict[str, str] = {}  # kind: what to tell
        self._folder = job.code
        self._chunk_rows = job.chunk_rows
        with collecting_rarely():
            self._pyfunc = importlib.import_module("mlflow.pyfunc")
        self.init = self._load
        self.run = self._run

    def _load(self) -> None:
        self._model = self._pyfunc.load_model(self._folder)
        self._reader = Reader(self._model.metadata.get_input_schema())

    def _run(self, mini_batch: List[str], context: MiniBatchContext) -> Tables:
        kept = self._kept.get(context.minibatch_index, {})
        files = look(mini_batch)
        frames: List[Any] = []
        try:
            for path, file in zip(mini_batch, files):
                before, frame = kept.get(path, (None, None))
                frames.append(frame if before is not None and before == file else self._score(path))
        except FileError:
            if len(self._kept) >= _MOST_KEPT and context.minibatch_index not in self._kept:
                del self._kept[next(iter(self._kept))]
            kept.update(zip(mini_batch, zip(files, frames)))
            self._kept[context.minibatch_index] = kept
            raise
        for path in mini_batch:
            kept.pop(path, None)
        return Tables(frames, self._oddities)

    def _score(self, path: str) -> Any:
        try:
            image = self._reader.is_image(path)
            predictions = self._predictions(path, 0 if image else self._chunk_rows)
            return frame_of(joined(predictions), file_name=os.path.basename(path), one_row=image)
        except Exception as error:
            raise FileError(path, error, said=_without_data(str(error))) from error

    def _predictions(self, path: str, chunk_rows: int) -> List[Any]:
        found: List[Any] = []
        given, uneven = 0, False
        for piece in self._reader.pieces(path, chunk_rows):
            given = piece.rows  # predict may change the piece
            prediction = checked(self._model.predict(piece.data))
            found.append(prediction)
            uneven = uneven or rows_of(prediction) != given
            if uneven and chunk_rows and (len(found) > 1 or given >= chunk_rows):  # it is not the only piece
                return self._predictions(path, 0)
        if uneven and not self._reader.is_image(path):
            told = "%r: rows: %d, predictions: %d; `row` counts predictions there, not the rows of the table"
            self._oddities["uneven"] = told % (os.path.basename(path), given, rows_of(found[0]))
        return found


def _without_data(message: str) -> str:
    """mlflow puts the whole table before what is wrong with it."""
    if message.startswith("Failed to enforce schema of data '"):
        _data, found, wrong = message.rpartition("'. Error: ")
        return "Failed to enforce schema: " + wrong if found else ""
    return ""
