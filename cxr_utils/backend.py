"""Keras, started quietly: import it from here, or after this module.

TensorFlow writes lines about missing GPU libraries to standard error when it starts, from C++, whatever
its log level says. In a notebook they read as a failure.
"""

import functools
import os
import sys
import warnings

from cxr_utils import _machine
from cxr_utils.errors import CxrError

if "keras" not in sys.modules and (_fault := _machine.backend_fault()):
    raise CxrError(_fault)
_kept, _nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
try:
    import keras

    # The layers and files of this package mean these, whatever ~/.keras/keras.json says.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.ops.zeros(1)  # the first operation looks for devices
except (AssertionError, AttributeError, TypeError, ValueError) as _error:  # Keras reads its settings as it starts
    _settings = os.path.join(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json")
    if not os.path.isfile(_settings):
        raise
    raise CxrError(
        f"{_settings}: Keras can't start with these settings "
        f"({type(_error).__name__}: {_error}); correct or rename the file, Keras needs none"
    ) from _error
finally:
    os.dup2(_kept, 2)
    os.close(_kept)
    os.close(_nowhere)
if keras.backend.backend() != os.environ["KERAS_BACKEND"]:
    warnings.warn(
        f"keras was imported before cxr_utils and took the backend {keras.backend.backend()}, from keras.json or "
        "KERAS_BACKEND as it was then: restart, and import cxr_utils first",
        stacklevel=2,
    )

__all__ = ["fused", "gpu_has_bfloat16", "keras"]


def gpu_has_bfloat16() -> bool | None:
    """Tell whether all GPUs multiply bfloat16 in hardware: those of compute capability 8 and more do.

    Returns
    -------
    bool or None
        None where there is no GPU. Where there is one, it trains, whatever the processor can do.

    Examples
    --------
    >>> gpu_has_bfloat16() in (True, False, None)
    True
    """
    return all(capability >= (8, 0) for capability in found) if (found := _capabilities()) else None


def _capabilities() -> list[tuple[int, ...]]:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
        return [found.get("compute_capability", (0, 0)) for found in details]
    if keras.backend.backend() == "jax":
        import jax

        gpus = [device for device in jax.devices() if device.platform == "gpu"]
        return [tuple(map(int, str(gpu.compute_capability).split("."))) for gpu in gpus]
    return []


def fused(layer):
    """Return a BatchNormalization that computes the same with TensorFlow's fused kernel.

    Keras' own is not fused on CPUs: with it, a step of training takes twice as long. Only for training;
    what is saved holds Keras' own layers.

    Parameters
    ----------
    layer : keras.layers.BatchNormalization
        Not built yet, of rank 4 when called, normalising its last axis.

    Returns
    -------
    keras.layers.BatchNormalization
        The same settings; `layer` itself where the backend is not TensorFlow.

    Examples
    --------
    >>> type(fused(keras.layers.BatchNormalization())).__name__
    'BatchNormalization'
    """
    return _fused_class().from_config(layer.get_config()) if keras.backend.backend() == "tensorflow" else layer


@functools.cache
def _fused_class():
    import tensorflow as tf

    class BatchNormalization(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            if not training or not self.trainable or len(inputs.shape) != 4 or mask is not None:
                return super().call(inputs, training=training, mask=mask)
            gamma, beta = (tf.cast(v, "float32") for v in (self.gamma, self.beta))
            empty = tf.zeros([0])
            outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=inputs, scale=gamma, offset=beta, mean=empty, variance=empty, epsilon=self.epsilon, is_training=True
            )
            # The kernel divides by n - 1, Keras by n.
            n = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], "float32")
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance * (n - 1) / n)):
                moving.assign(moving * self.momentum + tf.cast(value, moving.dtype) * (1 - self.momentum))
            return outputs

    return BatchNormalization
