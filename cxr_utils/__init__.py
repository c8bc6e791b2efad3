"""Helper package of a course on reading pneumonia from chest X-rays with CNNs."""

import os

__version__ = "0.1.0"

# TensorFlow reports each missing GPU library on standard error; in a notebook that reads as a failure.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
