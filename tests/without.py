"""A plugin of `make test-colab`: a test that needs a package which Colab lacks is skipped, and says which one.

What is raised in place of the missing import is a failure: there the words for a person are tested.
"""

import doctest

import pytest

LACKING = {
    "bandit", "fastapi", "gdcm", "gradio", "httpx", "importlinter", "jupyterlab", "nbval", "numpydoc", "onnx",
    "onnxruntime", "papermill", "pydicom", "skimage", "snakemake", "starlette", "tf2onnx", "uvicorn",
}  # fmt: skip


def _skipping():
    try:
        return (yield)
    except (ModuleNotFoundError, doctest.UnexpectedException) as error:
        cause = error.exc_info[1] if isinstance(error, doctest.UnexpectedException) else error
        name = (getattr(cause, "name", None) or "").partition(".")[0]
        if isinstance(cause, ModuleNotFoundError) and name in LACKING:
            pytest.skip(f"needs {name}, which Colab lacks")
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    return (yield from _skipping())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    return (yield from _skipping())
