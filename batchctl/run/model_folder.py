"""The folder that AZUREML_MODEL_DIR names: exactly one entry, called like the model, leading to it.

Scripts join the model's base name to the variable, or take the only entry they find; a folder of our own with one
symbolic link in it serves both.
"""

from __future__ import annotations

import os
from pathlib import Path

from batchctl.errors import StorageError


def stage_model(folder: Path, model: Path) -> None:
    """Have exactly one link, to `model`, in `folder`; not synced, as every start makes it anew."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        target = folder / model.name
        for entry in folder.iterdir():
            if entry != target:
                entry.unlink()
        if target.is_symlink() and os.readlink(target) == str(model):  # noqa: PTH115 - compares text, not a Path
            return
        target.unlink(missing_ok=True)
        target.symlink_to(model)
    except OSError as error:
        raise StorageError(f"cannot stage the model: {error.strerror}", where=str(folder)) from error
