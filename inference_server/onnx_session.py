"""ONNX Runtime as every process of the server uses it: one thread, no memory kept, no telemetry."""

import os
from pathlib import Path

# ONNX Runtime's own builds report to their maker: from its import on there would be an identifier and a
# database in the user's cache folder, and a thread that sends. It asks only this variable, and only once.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime


def open_session(model: bytes | Path) -> onnxruntime.InferenceSession:
    """A session that keeps neither threads nor, between runs, memory of its own.

    Args:
        model: A serialized model, or its file, which may have its weights in further files beside it.

    Raises:
        Exception: One of ONNX Runtime's, which have no common class: it is no model, or none it can run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
