"""Does a failure say that a GPU's memory was exhausted? Told by class and message, as frameworks word them.

A wrong yes costs a fresh worker and at most one repeat per halving, a wrong no an ordinary charge. So what is ambiguous
counts as a yes where a framework for GPUs says it (onnxruntime and XLA do not always name the device), and never where
the host's memory is named, or where a text merely speaks of memory.
"""

from __future__ import annotations

import re

from batchctl.model.outcome import Shortage

# Classes that mean nothing else, by root package and last name.
_CLASSES = {
    ("torch", "OutOfMemoryError"),
    ("cupy", "OutOfMemoryError"),
    ("numba", "OutOfMemoryError"),
    ("pycuda", "MemoryError"),
}

# Texts that nobody writes for another reason, whatever exception carries them (a script may have wrapped it).
# Not compiled before they are needed, as few runs need them.
_TEXTS = (
    r"\b(?:CUDA|HIP|XPU) out of memory\. Tried to allocate "
    r"|\b(?:CU|HIP)(?:BLAS|DNN|SPARSE|SOLVER|FFT|RAND)_(?:STATUS_)?(?:ALLOC|ALLOCATION)_FAILED\b"
    r"|\bCUDA_ERROR_OUT_OF_MEMORY\b|\bcudaErrorMemoryAllocation\b|\bhipErrorOutOfMemory\b|\bHIP_ERROR_OutOfMemory\b"
    r"|\bCUDA failure 2: out of memory\b"  # onnxruntime
    r"|\bCUDA error: out of memory\b|\bHIP error: out of memory\b|\bcuda runtime error \(2\) ?: out of memory\b"
    r"|\bOut of memory error on GPU \d"  # paddle
    r"|\bout_of_memory: CUDA error\b"  # rmm, as a MemoryError
)

# (root package or last name of the class, text): either alone may mean something else.
_BOTH = (
    ("ResourceExhaustedError", r"(?i)OOM when allocating tensor|failed to allocate memory"),
    ("onnxruntime", r"(?s)Failed to allocate memory for requested buffer|BFCArena.*Available memory of"),
)
_XLA = r"(?is)\bRESOURCE[_ ]EXHAUSTED\b:? .{0,200}?(?:out of memory|failed to allocate)"
_HOST = r"(?i)by allocator (?:mkl)?_?cpu|device:CPU:"


def gpu_shortage(error: str, message: str) -> Shortage:
    """GPU or NONE. `error`: the class with its module, `message`: the exception's text."""
    root, last = error.partition(".")[0], error.rpartition(".")[2]
    if (root, last) in _CLASSES or re.search(_TEXTS, message):
        return Shortage.GPU
    if re.search(_HOST, message):
        return Shortage.NONE
    said = any(name in (root, last) and re.search(text, message) for name, text in _BOTH)
    return Shortage.GPU if said or re.search(_XLA, message) else Shortage.NONE
