"""A plugin of `make test-colab`: a test that needs a package which Colab lacks is skipped, and says which one.

What is raised in place of the missing import is a failure: there the words for a person are tested. But if a test waits
for another error or a warning, it is the missing import that it got.
"""

import doctest
import re

import pytest

LACKING = {
    "fastapi", "gdcm", "gradio", "httpx", "jupyterlab", "nbval", "onnx", "onnxruntime", "papermill", "pydicom",
    "skimage", "snakemake", "starlette", "tf2onnx", "uvicorn",
}  # fmt: skip


def _lacking(words):
    found = re.search(r"No module named '(\w+)", words)
    return found[1] if found and found[1] in LACKING else ""


def _skipping():
    try:
        return (yield)
    except (ModuleNotFoundError, doctest.UnexpectedException, doctest.DocTestFailure, pytest.fail.Exception) as error:
        cause = error.exc_info[1] if isinstance(error, doctest.UnexpectedException) else error
        cause = error.__context__ if isinstance(error, pytest.fail.Exception) else cause
        words = error.got if isinstance(error, doctest.DocTestFailure) else str(cause)
        missing = isinstance(cause, ModuleNotFoundError) or isinstance(error, doctest.DocTestFailure)
        if missing and (name := _lacking(words)):
            pytest.skip(f"needs {name}, which Colab lacks")
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    return (yield from _skipping())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    return (yield from _skipping())


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if report.failed and (name := _lacking(str(report.longrepr))):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 0, f"needs {name}, which Colab lacks")
    return report
