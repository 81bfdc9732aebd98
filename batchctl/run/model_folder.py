"""The folder that AZUREML_MODEL_DIR names: exactly one entry, called like the model, leading to it.

    .batchctl/model/NAME            a link, where the model is a file
    .batchctl/model/NAME/sub/file   folders of our own with a link for each file, where it is a folder

Scripts join the model's base name to the variable, take the only entry they find, or walk down from it; and a walk
(os.walk, Path.rglob) goes into no link to a folder. What a script writes beside the model, byte code of modules that
lie there for one, lands in our folders: the model itself is part of the fingerprint. Where OUT (or the state
directory) lies in the model's folder (`path: .`), it is no part of the model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from batchctl.errors import StorageError


def stage_model(folder: Path, model: Path, *, outside: Sequence[Path]) -> None:
    """Make `folder` anew, with the model as its one entry; not synced, as every start makes it anew. `outside`: folders
    that are no part of the model wherever they lie."""
    try:
        if os.path.lexists(folder):
            import shutil  # 3 ms, which only a start after one with a model needs

            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        _stage(model, folder / model.name, outside=outside)
    except OSError as error:
        where = os.fsdecode(error.filename) if error.filename else str(folder)
        raise StorageError(f"cannot stage the model: {error.strerror}", where=where) from error


def _stage(model: Path, target: Path, *, outside: Sequence[Path]) -> None:
    if not model.is_dir():
        target.symlink_to(model)
        return
    coming = [(str(model), str(target))]
    left_out = {(found.st_dev, found.st_ino) for found in (path.stat() for path in outside)}
    inodes = {inode for _, inode in left_out}
    while coming:
        source, here = coming.pop()
        os.mkdir(here, 0o700)  # noqa: PTH102 - texts: a Path for each of a model's files costs more than its link
        with os.scandir(source) as entries:
            for entry in entries:
                there = f"{here}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if entry.inode() in inodes:
                        found = entry.stat(follow_symlinks=False)
                        if (found.st_dev, found.st_ino) in left_out:
                            continue
                    coming.append((entry.path, there))
                else:  # a link of the model's own is one here too: what it does not follow there, no walk follows here
                    os.symlink(entry.path, there)  # noqa: PTH211
