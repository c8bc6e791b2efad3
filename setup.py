"""Put the shipped network into the wheel; all else of the build stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = Path("results", "models")


class WithNetwork(build_py):
    """Copy it beside the module that looks for it; a checkout has it where it lies."""

    def run(self):
        """Do what is usual, then copy."""
        super().run()
        if not self.editable_mode:
            place = Path(self.build_lib, "cxr_utils", "predict", "shipped")
            self.mkpath(str(place))
            for name in ("reference.json", "reference.keras", "reference.onnx", "model-card.md"):
                self.copy_file(str(SHIPPED / name), str(place / name))


setup(cmdclass={"build_py": WithNetwork})
