"""Helper package of a course on reading pneumonia from chest X-rays with CNNs."""

__version__ = "0.1.0"
