"""Time ours against the plain way, side by side, and write results.json, results.md and growth.png.

``python benchmarks/run.py`` runs all parts; with names of parts it measures those, and keeps the others.
"""

from __future__ import annotations

import importlib
import io
import json
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import zipfile
from datetime import date
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
SHARED = Path(os.environ.get("CXR_TEST_DATA") or ROOT.parent / "shared" / "data")
WORK = ROOT / "build" / "bench"
TRAINED = ("batchnorm_224", "smote_224", "plain_224")
STEPS = {"batchnorm_224": 6, "smote_224": 4, "plain_224": 12}
TURNS = 3
EIGHTHS = (8, 4, 2, 1)  # every which image: 1, 2, 4 and 8 times as many


def data() -> dict:
    """Unpack the training images that are at hand, the real ones else the sample's, and say which."""
    copies, originals = WORK / "copies", WORK / "originals"
    names = {copies: "chest-xray-pneumonia-224.zip", originals: "chest-xray-originals-sample.zip"}
    if not (SHARED / names[copies]).is_file():
        from cxr_utils import sources

        folder = str(sources.fetch("sample", data_dir=WORK))
        return {"source": "sample: 720 phantoms", "copies": folder, "originals": folder, "times": 1}
    for folder, name in names.items():
        if not folder.is_dir():
            with zipfile.ZipFile(SHARED / name) as archive:
                archive.extractall(folder, [n for n in archive.namelist() if n.startswith("chest_xray/train/")])
    return {"source": "real: the 5,216 training images as copies of 224 px, and 56 originals of train",
            "copies": str(copies), "originals": str(originals), "times": 4}  # fmt: skip


def anonymous(pid: int) -> float:
    """Return a process's memory in MB without files that are mapped, such as the image cache."""
    try:
        return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))[1]) / 1024
    except (OSError, TypeError):
        import psutil

        return psutil.Process(pid).memory_info().rss / 2**20


def serve(channel, side: str, name: str, options: dict) -> None:
    """Prepare a piece of work in a process of its own, then do it each time that it is asked for."""
    try:
        sys.path.insert(0, str(HERE))
        work = getattr(importlib.import_module(side), name)(**options)
        if name == "training":
            work = _steps(*work, STEPS[options["recipe"]])
            work()  # the first steps build the graph
        channel.send("ready")
        while channel.recv() == "go":
            done = work()
            if hasattr(done, "send"):
                for stage in done:
                    channel.send((stage, None))
                done = None
            channel.send(("end", done if isinstance(done, float) else None))
            del done
    except BaseException as error:
        channel.send(error)
        raise


def _steps(model, fit: dict, steps: int):
    """Return what trains some steps, and gives images a second, from the end of the first step on."""
    import keras

    class Ends(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.times = []

        def on_train_batch_end(self, batch, logs=None):
            self.times.append(time.perf_counter())

    ends = Ends()

    def work() -> float:
        model.fit(**fit, epochs=1, steps_per_epoch=steps + 1, verbose=0, callbacks=[ends])
        return 32 * steps / (ends.times[-1] - ends.times[0])

    return work


class Side:
    """A process that does a piece of work; each turn gives, stage by stage, seconds, memory and result."""

    def __init__(self, side: str, name: str, **options):
        context = multiprocessing.get_context("spawn")
        self.channel, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, side, name, options), daemon=True)
        self.process.start()
        self._hear()

    def _hear(self):
        self.peak = 0.0
        while not self.channel.poll(0.005):
            self.peak = max(self.peak, anonymous(self.process.pid))
            if not self.process.is_alive() and not self.channel.poll():
                raise RuntimeError("a measured process ended without a word; is there too little memory?")
        heard = self.channel.recv()
        if isinstance(heard, BaseException):
            raise heard
        return heard

    def turn(self) -> list[dict]:
        """Do the work once; `seconds` pass by the clock, `processor` sums those of all cores."""
        import psutil

        watched = psutil.Process(self.process.pid)
        stages, before = [], anonymous(self.process.pid)
        self.channel.send("go")
        stage = ""
        while stage != "end":
            start, used = time.perf_counter(), sum(watched.cpu_times()[:2])
            stage, value = self._hear()
            stages.append({"stage": stage, "seconds": round(time.perf_counter() - start, 6),
                           "processor": round(sum(watched.cpu_times()[:2]) - used, 2),
                           "mb": round(max(0.0, self.peak - before), 1), "value": value})  # fmt: skip
        return stages if len(stages) == 1 else stages[:-1]

    def close(self) -> None:
        """End the process."""
        self.channel.send("stop")
        self.process.join()


def alternate(sides: dict[str, Side], turns: int = TURNS) -> dict[str, list[dict]]:
    """Let sides take turns, and return what each turn gave."""
    found = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            found[name] += side.turn()
    for side in sides.values():
        side.close()
    return found


def pair(name: str, **options) -> dict:
    """Measure a piece of work that both sides have."""
    return alternate({side: Side(side, name, **options) for side in ("plain", "ours")})


def originals(place: dict) -> dict:
    """Measure decoding of large images, and libjpeg-turbo's alone."""
    options = {"folder": place["originals"], "times": place["times"]}
    works = {"plain": ("plain", "originals"), "ours": ("ours", "originals"), "scaled": ("plain", "scaled")}
    return alternate({name: Side(*work, **options) for name, work in works.items()}, turns=5)


def hostile(folder: Path, *, side: int = 2048) -> dict[str, Path]:
    """Write small files that ask for much work: scans of a JPEG, pixels of a PNG, frames of a DICOM file."""
    import pydicom
    from PIL import Image
    from pydicom.encaps import encapsulate

    def jpeg(**options) -> bytes:
        target = io.BytesIO()
        Image.new("L", (side, side)).save(target, "JPEG", **options)
        return target.getvalue()

    folder.mkdir(parents=True, exist_ok=True)
    found = {"scans": folder / "scans.jpeg", "pixels": folder / "pixels.png", "frames": folder / "frames.dcm"}
    content = jpeg(progressive=True)
    last = content.rindex(b"\xff\xda")
    found["scans"].write_bytes(content[:last] + content[last:-2] * 1000 + content[-2:])
    Image.new("1", (12_000, 12_000)).save(found["pixels"])
    film = pydicom.Dataset()
    film.update({"Modality": "DX", "PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1, "Rows": side})
    film.update({"Columns": side, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0})
    film.update({"NumberOfFrames": "20", "SOPClassUID": "1.2", "SOPInstanceUID": "1.2"})
    film.PixelData = encapsulate([jpeg()] * 20)
    film.file_meta = pydicom.dataset.FileMetaDataset()
    film.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    film.save_as(found["frames"], enforce_file_format=True)
    return found


def refused(place: dict) -> dict:
    """Measure what small files cost that ask for much work, decoded plainly and refused."""
    return {kind: pair("hostile", path=str(path)) for kind, path in hostile(WORK / "hostile").items()}


def commands(place: dict) -> dict:
    """Measure `cxr predict` of 1 and of 100 images, against loading TensorFlow and the model; and the import."""
    model = _exported()
    sys.path.insert(0, str(HERE))
    pictures = [str(path) for path in importlib.import_module("plain").paths_in(place["copies"])[:100]]
    cxr = [sys.executable, "-c", "import sys; from cxr_utils.cli import main; sys.exit(main(sys.argv[1:]))"]
    sides = {"plain": [sys.executable, str(HERE / "plain.py"), f"{model}.keras"],
             "ours": [*cxr, "predict", f"{model}.onnx"]}  # fmt: skip
    found = {f"predict_{count}": {side: [_seconds([*sides[side], *pictures[:count]]) for _ in range(TURNS)]
                                  for side in sides} for count in (1, 100)}  # fmt: skip
    nothing, ours = ([sys.executable, "-c", code] for code in ("", "import cxr_utils, cxr_utils.cli"))
    bare = median(_seconds(nothing)["seconds"] for _ in range(TURNS))
    times = [_seconds(ours)["seconds"] for _ in range(TURNS)]
    return found | {"import": {"ours": [{"seconds": round(max(0.0, t - bare), 4)} for t in times]}}


def audited(place: dict) -> dict:
    """Measure `cxr audit` of this course's longest notebook, and of 12,000 lines of functions that call each other."""
    long, many = max((ROOT / "notebooks").glob("*.ipynb"), key=lambda path: path.stat().st_size), WORK / "many.py"
    WORK.mkdir(parents=True, exist_ok=True)
    body = "def f{0}(x):\n    for i in x:\n        f{1}([i])\n    model.fit(x, validation_data=x)\n    return x\n"
    many.write_text("".join(body.format(n, (7 * n + 1) % 2_400) for n in range(2_400)), encoding="utf-8")
    audit = [sys.executable, "-c", "import sys; from cxr_utils.cli import main; main(['audit', sys.argv[1]])"]
    files = {"longest": long, "many": many}
    return {name: {"ours": [_seconds([*audit, str(path)]) for _ in range(TURNS)]} for name, path in files.items()}


def _seconds(command: list[str]) -> dict:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ... failed: {done.stderr.strip()[-300:]}")
    return {"seconds": round(time.perf_counter() - start, 4)}


def _exported() -> Path:
    """Train plain_224 for one epoch on phantoms, and save it as .keras and .onnx; return the name without suffix."""
    from cxr_utils import dataset, images, recipes, sources, splits, training
    from cxr_utils.predict import export

    folder = sources.fetch("sample", data_dir=WORK)
    index = dataset.scan(folder)
    shutil.rmtree(WORK / "run", ignore_errors=True)
    run = training.fit(recipes.get("plain_224"), images.cache(index, folder), splits.grouped(index, seed=0), epochs=1,
                       run_dir=WORK / "run", image_source="phantoms")  # fmt: skip
    for to in ("keras", "onnx"):
        export.export(run.folder, to=to, out=WORK / "model" / f"plain.{to}", data_dir=WORK)
    return WORK / "model" / "plain"


def growth(place: dict) -> dict:
    """Measure the way from files to batches at 1, 2, 4 and 8 times the images, each in a new process."""
    found = {"plain": {}, "ours": {}}
    for every in EIGHTHS:
        for side in found:
            worker = Side(side, "pipeline", folder=place["copies"], every=every)
            found[side][str(8 // every)] = worker.turn()
            worker.close()
    return found


def bounds(place: dict) -> dict:
    """Tell where a step of training goes, by oneDNN's own clock, and what the processor reaches at best."""
    found = {"peak": {}}
    for precision in ("float32", "bfloat16"):
        worker = Side("ours", "product", precision=precision)
        seconds = median(worker.turn()[0]["seconds"] for _ in range(TURNS))
        worker.close()
        found["peak"][precision] = round(10 * 2 * 3072**3 / seconds / 1e9)
    for recipe in TRAINED:
        for side in ("plain", "ours"):
            command = [sys.executable, str(HERE / "run.py"), "--step", side, place["copies"], recipe]
            # One operation at a time, so that their times add up to the step's.
            clock = {"ONEDNN_VERBOSE": "1", "TF_NUM_INTEROP_THREADS": "1"}
            done = subprocess.run(command, env=os.environ | clock, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{recipe}: {done.stderr.strip()[-300:]}")
            found.setdefault(recipe, {})[side] = kinds(done.stdout)
    return found


def step(side: str, folder: str, recipe: str) -> None:
    """Train three steps, and print how long and how much they multiply; oneDNN prints the rest."""
    sys.path.insert(0, str(HERE))
    model, fit = importlib.import_module(side).training(folder, recipe=recipe)
    if hasattr(fit["x"], "shape"):
        x, y = fit["x"][:32], fit["y"][:32]
    else:
        x, y = fit["x"][0]
    model.train_on_batch(x, y)
    model.train_on_batch(x, y)
    print("BEGIN", flush=True)
    start = time.perf_counter()
    for _ in range(3):
        model.train_on_batch(x, y)
    seconds = (time.perf_counter() - start) / 3
    print("END", json.dumps({"seconds": seconds, "flops": flops(model)}), flush=True)


def flops(model) -> float:
    """Count the operations of convolutions in a step of 32 images: forward, and back to weights and inputs."""
    total = 0
    for number, layer in enumerate(one for one in model.layers if type(one).__name__ == "Conv2D"):
        height, width, kernel = *layer.output.shape[1:3], layer.kernel.shape
        once = 2 * height * width * kernel[0] * kernel[1] * kernel[2] * kernel[3]
        total += once * (2 if number == 0 else 3)  # nothing goes back to the images
    return 32 * total


def kinds(printed: str) -> dict:
    """Sum oneDNN's lines by kind, in ms a step, between BEGIN and END of `step`."""
    inside, said = printed.split("BEGIN\n")[1].split("END ")
    said = json.loads(said.splitlines()[0])
    found = {"step": said["seconds"] * 1e3}
    for line in inside.splitlines():
        if match := re.match(r"onednn_verbose,.*?exec,cpu,(\w+),.*,([\d.]+)$", line):
            found[match[1]] = found.get(match[1], 0) + float(match[2]) / 3
    reached = said["flops"] / found.get("convolution", float("inf")) / 1e6
    return {name: round(ms, 1) for name, ms in found.items()} | {"gflops": round(reached)}


def precision(place: dict) -> dict:
    """Train with three seeds in both precisions."""
    sys.path.insert(0, str(HERE))
    auc = importlib.import_module("ours").auc
    found = {name: [] for name in ("float32", "mixed_bfloat16")}
    for seed in range(3):
        for name in found:
            found[name].append(round(auc(place["copies"], precision=name, seed=seed), 5))
    return found


PARTS = {
    **{recipe: lambda place, recipe=recipe: pair("training", folder=place["copies"], recipe=recipe)
       for recipe in TRAINED},
    "originals": originals,
    "warm": lambda place: alternate({"ours": Side("ours", "warm", folder=place["copies"])}),
    "smote": lambda place: pair("smote", folder=place["copies"]),
    "commands": commands,
    "audit": audited,
    "refused": refused,
    "growth": growth,
    "bounds": bounds,
    "precision": precision,
}  # fmt: skip


def machine() -> dict:
    """Return what the figures depend on."""
    import psutil
    from PIL import features

    from cxr_utils import _machine as here
    from cxr_utils import training

    info = here.cpu()
    versions = {k: v for k, v in training._versions().items() if k != "jax"}
    return {"processor": info["name"], "cores": os.cpu_count(), "bfloat16": info["bfloat16"],
            "memory_gb": round(psutil.virtual_memory().total / 2**30), "system": platform.system(),
            "libjpeg_turbo": features.version("libjpeg_turbo"), "versions": versions}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Measure parts, and write the results."""
    if arguments[:1] == ["--step"]:
        step(*arguments[1:])
        return 0
    sys.path.insert(0, str(HERE))
    import report

    from cxr_utils import files

    path = HERE / "results.json"
    kept = files.read_json(path) if path.is_file() else {}
    if unknown := set(arguments) - set(PARTS):
        print(f"{', '.join(unknown)}: no such part; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    place = data()
    if kept.get("source") != place["source"]:
        kept = {"source": place["source"], "parts": {}}  # figures of other images are not mixed with these
    for name in arguments or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        start, load = time.perf_counter(), os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        figures = PARTS[name](place)
        seconds = round(time.perf_counter() - start, 1)
        before = {"date": date.today().isoformat(), "load_before": load and round(load, 1), "seconds": seconds}
        kept["parts"][name] = {"machine": machine()} | before | {"figures": figures}
        files.write_json(path, kept, ours=True)
    report.write(HERE, kept)
    print(report.text(kept))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
