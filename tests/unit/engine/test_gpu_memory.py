"""What frameworks say when a GPU's memory is exhausted, and what only sounds like it."""

from __future__ import annotations

import pytest

from batchctl.engine.gpu_memory import gpu_shortage
from batchctl.model.outcome import Shortage

ARENA = "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool)"
RUN = "Non-zero status code returned while running Conv node. Name:'Conv_3' Status Message: bfc_arena.cc:376 void* "
ORT = "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException"
TF = "tensorflow.python.framework.errors_impl.ResourceExhaustedError"
GPU_0 = "/job:localhost/replica:0/task:0/device:GPU:0"

# name: class, message
EXHAUSTED = {
    "torch 2.5": (
        "torch.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 22.78 GiB. GPU 0 has a total capacity of 31.47 GiB of which 12.73 GiB",
    ),
    "torch 2.0": (
        "torch.cuda.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 1.69 GiB (GPU 0; 14.56 GiB total capacity; 649.97 MiB already allocated",
    ),
    "torch 1": (
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 9.80 GiB (GPU 0; 14.76 GiB total capacity; 9.94 GiB already allocated",
    ),
    "torch, from the driver": (
        "RuntimeError",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
    ),
    "torch, from the driver, newer": ("torch.AcceleratorError", "CUDA error: out of memory"),
    "torch 0.4": ("RuntimeError", "cuda runtime error (2) : out of memory at /pytorch/aten/src/THC/THCStorage.cu:58"),
    "torch on ROCm": ("torch.OutOfMemoryError", "HIP out of memory. Tried to allocate 3.31 GiB. GPU 0 has a total"),
    "torch on ROCm, before": ("RuntimeError", "HIP out of memory. Tried to allocate 432.00 MiB. GPU 0 has a total"),
    "cuBLAS": ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cuDNN": ("RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cuDNN in TensorFlow": ("UnknownError", "Could not create cudnn handle: CUDNN_STATUS_ALLOC_FAILED"),
    "tensorflow": (TF, f"OOM when allocating tensor with shape[9,3] and type float on {GPU_0} by allocator GPU_0_bfc"),
    "tensorflow 1": (TF, "OOM when allocating tensor with shape[1,5095,3729,3]"),
    "tensorflow 2, eager": (TF, f"function_node __wrapped__AddV2_device_{GPU_0}: failed to allocate memory [Op:AddV2]"),
    "tensorflow, driver": ("InternalError", "failed to allocate 17.79G (19104890880 bytes): CUDA_ERROR_OUT_OF_MEMORY"),
    "cupy": ("cupy.cuda.memory.OutOfMemoryError", "Out of memory allocating 25,600 bytes (allocated so far: 3 bytes)."),
    "cupy 5": ("cupy.cuda.runtime.CUDARuntimeError", "cudaErrorMemoryAllocation: out of memory"),
    "onnxruntime": (ORT, f"{RUN}{ARENA} Failed to allocate memory for requested buffer of size 8388608000"),
    "cuBLAS of ROCm": ("RuntimeError", "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"),
    "paddle": ("SystemError", "ResourceExhaustedError: Out of memory error on GPU 0. Cannot allocate 2.0GB memory"),
    "rmm": ("MemoryError", "std::bad_alloc: out_of_memory: CUDA error at: cuda_memory_resource.hpp"),
    "onnxruntime, limited": (ORT, f"{ARENA} Available memory of 0 is smaller than requested bytes of 4096"),
    "onnxruntime, from the driver": (ORT, "CUDA failure 2: out of memory ; GPU=0 ; hostname=node ; expr=cudaMalloc()"),
    "jax": (
        "jaxlib.xla_extension.XlaRuntimeError",
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7406166528 bytes.\nBufferAssignment OOM Debugging.",
    ),
    "jax, short": ("jaxlib.xla_extension.XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory allocating 2002 bytes."),
    "jax, a request": (
        "jax.errors.JaxRuntimeError",
        "RESOURCE_EXHAUSTED: Failed to allocate request for 2.99GiB (3206250496B) on device ordinal 0",
    ),
    "jax 0.1": (
        "RuntimeError",
        "Execution of replica 0 failed: Resource exhausted: Out of memory while trying to allocate 5520758552 bytes.",
    ),
    "iree": ("RuntimeError", "RESOURCE_EXHAUSTED; HIP driver error 'hipErrorOutOfMemory' (2): out of memory"),
    "numba": ("numba.cuda.cudadrv.driver.CudaAPIError", "[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"),
    "pycuda": ("pycuda._driver.MemoryError", "cuMemAlloc failed: out of memory"),
    "wrapped by the script": ("score.ScoringError", "a.png: CUDA out of memory. Tried to allocate 2.00 GiB."),
}  # fmt: skip

OTHERS = {
    "the host's memory": ("MemoryError", "Unable to allocate 3.00 GiB for an array with shape (402653184,)"),
    "the host's memory, without a word": ("MemoryError", ""),
    "torch on the cpu": (
        "RuntimeError", "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes.",
    ),
    "tensorflow on the cpu": (
        TF, "OOM when allocating tensor with shape[1024,1024] and type float on /task:0/device:CPU:0 by allocator cpu",
    ),
    "tensorflow, a full disk": (TF, "/tmp/checkpoint.tmp; No space left on device"),
    "a remote service": ("grpc._channel._InactiveRpcError", "StatusCode.RESOURCE_EXHAUSTED: message larger than max"),
    "a quota": ("google.api_core.exceptions.ResourceExhausted", "429 Resource exhausted. Please try again later."),
    "a ValueError that mentions memory": ("ValueError", "memory must be positive, not -1"),
    "an option about it": ("ValueError", "on_oom: 'CUDA out of memory' is neither 'raise' nor 'retry'"),
    "another error of cuBLAS": ("RuntimeError", "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"),
    "another error of CUDA": ("RuntimeError", "CUDA error: device-side assert triggered"),
    "an error of the driver": ("RuntimeError", "CUDA error: an illegal memory access was encountered"),
    "a full disk": ("OSError", "[Errno 28] No space left on device: '/data/gpu.bin'"),
    "no memory for a fork": ("OSError", "[Errno 12] Cannot allocate memory"),
    "another error of onnxruntime": (ORT, "Invalid rank for input: image Got: 3 Expected: 4"),
    "another class of that name": ("score.OutOfMemoryError", "no room in the cache"),
}  # fmt: skip


@pytest.mark.parametrize("case", EXHAUSTED)
def test_an_exhausted_gpu_is_recognised(case: str) -> None:
    assert gpu_shortage(*EXHAUSTED[case]) is Shortage.GPU


@pytest.mark.parametrize("case", OTHERS)
def test_what_only_sounds_like_it_is_not(case: str) -> None:
    assert gpu_shortage(*OTHERS[case]) is Shortage.NONE
