"""Errors about the script's interpreter, without the secrets that it was given.

An interpreter that ends at once is quoted with its last words: a module that it loads by itself (sitecustomize) may
have printed anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from batchctl.errors import BatchctlError
from batchctl.processes import child_environment
from batchctl.report.mask import mask_of


@contextmanager
def masked_errors(environment: Mapping[str, str]) -> Iterator[None]:
    """BatchctlErrors leave the block with `***` for secrets; `environment` is the spec's."""
    try:
        yield
    except BatchctlError as error:
        error.message = mask_of(child_environment(environment), environment).text(error.message)
        error.args = (error.message,)
        raise
