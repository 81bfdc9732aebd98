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
from typing import Any, Dict, List

from .config import Job
from .failure import FileError
from .mlflow_input import Reader
from .mlflow_output import frame_of, joined, rows_of
from .rows import Tables
from .script import Scorer, settle_in


class MlflowScorer(Scorer):
    """Made, it has imported mlflow; `init` loads the model, and raises what that raises."""

    per_file = True
    separator = ","

    def __init__(self, job: Job) -> None:
        settle_in([], [job.script, *job.argv], job.logging_level)
        # Scoring needs no network, so none is used: mlflow would tell its makers that it was imported.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._kept: Dict[str, Any] = {}  # frames of attempts that failed at another file
        self._folder = job.code
        self._chunk_rows = job.chunk_rows
        self._pyfunc = importlib.import_module("mlflow.pyfunc")
        self.init = self._load
        self.run = self._run

    def _load(self) -> None:
        self._model = self._pyfunc.load_model(self._folder)
        self._reader = Reader(self._model.metadata.get_input_schema())

    def _run(self, mini_batch: List[str]) -> Tables:
        if not any(path in self._kept for path in mini_batch):  # that mini-batch is done with
            self._kept.clear()
        frames: Dict[str, Any] = {}
        try:
            for path in mini_batch:
                frames[path] = self._kept[path] if path in self._kept else self._score(path)
        except FileError:
            self._kept.update(frames)
            raise
        return Tables([frames[path] for path in mini_batch])

    def _score(self, path: str) -> Any:
        try:
            image = self._reader.is_image(path)
            predictions = self._predictions(path, self._chunk_rows)
            return frame_of(joined(predictions), file_name=os.path.basename(path), one_row=image)
        except Exception as error:
            raise FileError(path, error) from error

    def _predictions(self, path: str, chunk_rows: int) -> List[Any]:
        found = []
        for piece in self._reader.pieces(path, chunk_rows):
            prediction = self._model.predict(piece.data)
            if chunk_rows and piece.rows >= chunk_rows and rows_of(prediction) != piece.rows:
                return self._predictions(path, 0)
            found.append(prediction)
        return found
