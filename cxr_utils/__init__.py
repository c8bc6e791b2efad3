"""Helper package of a course on reading pneumonia from chest X-rays with CNNs."""

import os
import sys
import warnings

__version__ = "0.1.0"

# TensorFlow reports each missing GPU library on standard error; in a notebook that reads as a failure.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A left-over ~/.keras/keras.json does not choose the backend; a user who sets the variable does.
os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"

#: What libraries tell their makers, switched off: here, since every command, kernel and page passes here before it
#: imports one of them, and the processes that it starts inherit it. A user's own value is not asked: none is stricter.
SILENT = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: processor, system and paths to Microsoft, by native code
    "GRADIO_ANALYTICS_ENABLED": "False",  # Gradio: each start, and whether it is the newest
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, which Gradio brings
    "DO_NOT_TRACK": "1",  # others that know the common word
}
_LATE = "onnxruntime" in sys.modules and os.environ.get("ORT_DISABLE_TELEMETRY") != "1"
os.environ.update(SILENT)
if _LATE:  # its own function to switch it off afterwards does not: seen in a network namespace
    warnings.warn(
        "onnxruntime was imported before cxr_utils and reports to Microsoft: restart, and import cxr_utils first",
        stacklevel=2,
    )
