"""Keras, started quietly: import it from here, or after this module.

TensorFlow writes lines about missing GPU libraries to standard error when it starts, from C++, whatever
its log level says. In a notebook they read as a failure.
"""

import os

_kept, _nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
try:
    import keras

    keras.ops.zeros(1)  # the first operation looks for devices
finally:
    os.dup2(_kept, 2)
    os.close(_kept)
    os.close(_nowhere)

__all__ = ["keras"]
