"""The command ``cxr``: thin over the modules that do the work."""

import copy
import inspect
import os
import re
import sys
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from cxr_utils import __version__, _pages, files
from cxr_utils.errors import BadInput, CxrError, advice, one_of, printable

app = typer.Typer(
    name="cxr", add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: cxr check, then cxr run. Help of a command: cxr run --help.",
)  # fmt: skip

#: What several commands take, in the same words.
_KEPT = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SHARED = {name: (one["value"], one.get("default", ""), one["help"]) for name, one in _KEPT.items()}
_Seed = typer.Option(min=0, max=files.MOST_SEED)
_ENTRY = re.compile(r"(?m)^(\w+) : ([^,\n]+)(?:, default (.+))?\n((?:    .*\n?)+)")


def _command(name: str | None = None, **settings: Any) -> Callable[[Callable], Callable]:
    """Make a function a command whose help is its docstring.

    Of ``Parameters`` the type is what the help shows for the value, what follows "default" is said of a default that
    the signature does not hold, and the words are the option's own; those of `_SHARED` need none.
    """

    def register(function: Callable) -> Callable:
        text, _, entries = (inspect.getdoc(function) or "").partition("\n\nParameters\n----------\n")
        said = _SHARED | {entry[1]: (entry[2], entry[3] or "", entry[4]) for entry in _ENTRY.finditer(entries)}
        for option, hint in get_type_hints(function, include_extras=True).items():
            if option == "return":
                continue
            kind, *given = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
            flag = [f"--{option.replace('_', '-')}"] if kind is bool else []  # without --no-...
            info = copy.copy(given[0]) if given else typer.Option(*flag)
            metavar, default, words = said.get(option, ("bool", "", ""))
            info.metavar = None if metavar in ("bool", "int") else metavar
            info.help, info.show_default = " ".join(words.split()), default or info.show_default
            function.__annotations__[option] = Annotated[kind, info]
        return app.command(name, help=text, **settings)(function)

    return register


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cxr {__version__}")
        raise typer.Exit()


_VersionOption = typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")


@app.callback()
def _cxr(version: Annotated[bool, _VersionOption] = False) -> None:
    """Read pneumonia from chest X-rays with CNNs: a course that runs from one command.

    For teaching and research; this is no medical device.
    """


def _note(words: object) -> None:
    print(f"cxr: note: {words}", file=sys.stderr)


def _first(names: list[Any]) -> str:
    return ", ".join(map(printable, names[:3])) + (", …" if len(names) > 3 else "")


def _absolute(path: Path | None) -> Path | None:
    """Take a path from where the user stands, not from the project's root."""
    return files.expand(path).absolute() if path else None


def _from_here(path: Path | None) -> Path | None:
    """Take a path from where the user stands if it is there, else leave it to the project's root."""
    here = _absolute(path)
    return here if here and here.exists() else path


class _ListsSources(typer.core.TyperCommand):
    """A command whose help ends with the sources, which are looked for only then."""

    def format_epilog(self, ctx: typer.Context, formatter: Any) -> None:
        """Write them down."""
        from cxr_utils import sources

        with formatter.section("Sources"):
            formatter.write_dl([(name, sources.get(name).about) for name in sources.names()])


@_command(no_args_is_help=True, cls=_ListsSources)
def fetch(
    source: str, path: Path | None = None, data_dir: str = "data", seed: Annotated[int | None, _Seed] = None,
    keep_archive: bool = False,
) -> None:  # fmt: skip
    """Get the images of a source ready.

    Once done, a second call finds them and touches nothing. A download that broke is gone on with
    (PneumoniaMNIST's starts again).

    Example: cxr fetch --source folder --path ~/Downloads/archive.zip

    Parameters
    ----------
    source : NAME
        One of those below.
    path : PATH
        With --source folder: the folder or zip file; relative to where you are now.
    seed : NUMBER
        With --source sample or elsewhere: which phantoms.
    keep_archive : bool
        Keep what was downloaded, too.
    """
    from cxr_utils import course, dataset, sources

    bar, given = sys.stderr.isatty(), _absolute(path)
    folder = sources.fetch(source, data_dir=data_dir, path=given, seed=seed, keep_archive=keep_archive, progress=bar)
    about, counts = sources.describe(folder), dataset.counts(dataset.scan(folder))
    typer.echo(_pages.fill(
        Path(sources.__file__).with_name("fetched.txt.j2"), source=source, data_dir=data_dir, folder=folder,
        about=about, counts=counts, first=_first(about["left_out"]), unreadable=len(dataset.quarantine(folder)),
        run_dir=course.default_run_dir,
    ), nl=False)  # fmt: skip


@_command(no_args_is_help=True)
def pack(out: Annotated[Path, typer.Argument()], source: str | None = None, data_dir: str = "data") -> None:
    """Pack all images at 224 px into one file, about 40 MB: for a stick, or slow Wi-Fi.

    It carries licence, attribution and a hash of each image. Take it in by cxr fetch --source folder --path OUT.zip.

    Example: cxr pack chests.zip --source kaggle

    Parameters
    ----------
    out : OUT.zip
        The file to write; relative to where you are now.
    source : NAME
        Which fetched source; by default originals before copies, and phantoms last.
    """
    from cxr_utils.sources import pack as packing

    made = packing.pack(_absolute(out), source=source, data_dir=data_dir, progress=sys.stderr.isatty())
    mark = " - synthetic" if made["synthetic"] else ""
    typer.echo(f"{made['title']} ({made['licence']}){mark}, from the source {made['source']}")
    typer.echo(f"{made['images']:,} images at {packing.SIZE} px, {made['bytes'] / 1e6:,.1f} MB, in {made['path']}")
    typer.echo(f"\nnext, on another computer: cxr fetch --source folder --path {made['path'].name}")


@_command()
def run(
    notebooks: Annotated[list[str] | None, typer.Argument()] = None, profile: str = "sample",
    source: str | None = None, data_dir: str = "data", run_dir: str | None = None, seed: Annotated[int, _Seed] = 0,
    core: bool = False, parameter: Annotated[list[str] | None, typer.Option("-p")] = None,
    parameter_file: Annotated[Path | None, typer.Option("-f", "--parameter-file")] = None,
    otherwise: str | None = None, fresh: bool = False, keep_going: bool = False, dry_run: bool = False,
    no_input: bool = False, as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:  # fmt: skip
    """Execute the notebooks in order, with one HTML report.

    After an error or Ctrl-C the same command goes on from there; finished notebooks are skipped.

    Example: cxr run 04 05 --profile workshop --source folder

    Parameters
    ----------
    notebooks : NOTEBOOK
        Numbers or names, such as 04 or 04_train; none is all.
    profile : NAME
        How big: sample (minutes, 64 px), workshop (96 px) or full (hours).
    source : NAME
        One of those that cxr fetch --help lists. May be left out with the profile sample.
    run_dir : FOLDER
        Where results go; relative to the project's root. By default runs/sample, and runs/SOURCE-PROFILE for other
        sources.
    core : bool
        Only what the half-day workshop needs.
    parameter : NAME=VALUE
        Set a further parameter of a notebook; may be repeated.
    parameter_file : FILE
        A YAML file of such: NAME: VALUE for all notebooks, or the same indented below a notebook (07:) for it alone.
        What -p says goes before.
    otherwise : NAME
        sample: go on with the phantoms when the source can't be fetched.
    fresh : bool
        Start over: remove what cxr left in this run folder; what others put there stays.
    keep_going : bool
        After a notebook that failed, execute the others, too; ends with status 1 all the same.
    dry_run : bool
        Only say what would be executed, with which parameters; nothing is written.
    no_input : bool
        Leave the code out of the report.
    as_json : bool
        Print JSON: of each notebook its status, seconds and files.
    """
    from cxr_utils import course, sources
    from cxr_utils.course import parameters, report

    if otherwise not in (None, "sample"):
        raise BadInput(f"--otherwise {otherwise}: only sample needs no download")
    if otherwise and source and sources.get(source).archive and not dry_run:
        try:
            sources.fetch(source, data_dir=data_dir, progress=sys.stderr.isatty())
        except BadInput:
            raise
        except CxrError as error:
            typer.echo(f"cxr: {error}\ncxr: note: going on with the phantoms, profile sample", err=True)
            source, profile = "sample", "sample"

    try:
        result = course.run(
            notebooks or (), profile=profile, source=source, data_dir=data_dir, run_dir=run_dir, seed=seed, core=core,
            parameters=parameters.parse(parameter or ()), parameter_file=_absolute(parameter_file), fresh=fresh,
            dry_run=dry_run, keep_going=keep_going, code=not no_input,
        )  # fmt: skip
    except course.NotebooksFailed as error:
        typer.echo(report.told(error.run, as_json=as_json))
        raise
    typer.echo(report.told(result, as_json=as_json))


@_command()
def lab(
    folder: Annotated[Path | None, typer.Option("--in")] = None, reset: list[str] | None = None, only: bool = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser")] = True,
    port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
) -> None:  # fmt: skip
    """Do the course: write your own copies of the lessons, without outputs, and open JupyterLab there.

    What you wrote is never overwritten: a lesson that has changed since comes beside yours.

    Example: cxr lab --reset 04

    Parameters
    ----------
    folder : FOLDER
        Where the copies lie; by default lab, in the project.
    reset : LESSON
        A fresh copy of this lesson, such as 04; yours is kept. May be repeated.
    only : bool
        Write the copies, and open nothing.
    browser : bool
        Open a browser.
    port : int
        JupyterLab's port.
    """
    from cxr_utils.course import lab as copies

    place = "lab" if folder is None else _absolute(folder)
    for line in copies.write(place, reset=reset or ()):
        typer.echo(line)
    if not only:
        raise typer.Exit(copies.start(place, browser=browser, port=port))


@_command()
def check(data_dir: str = "data", speed: Annotated[bool, typer.Option("--speed/--no-speed")] = True) -> None:
    """See whether this machine is ready for the course.

    Each line says what is there and, where something is missing, what to do.
    Ends with status 1 if something necessary is missing.

    Parameters
    ----------
    speed : bool
        Train for ten seconds to foretell the course's minutes.
    """
    from cxr_utils.course import check as machine

    missing = 0
    for finding in machine.findings(data_dir=data_dir, measure_speed=speed):
        typer.echo(machine.lines(finding))
        missing += bool(finding.missing) and finding.needed
    typer.echo("\nready for the course" if not missing else f"\nnot ready: {missing} necessary things are missing")
    raise typer.Exit(1 if missing else 0)


@_command()
def replicate(
    recipe: list[str] | None = None, protocol: list[str] | None = None, seeds: str | None = None,
    cores: Annotated[int | None, typer.Option(min=1)] = None, dry_run: bool = False, rehearse: bool = False,
    source: str | None = None, data_dir: str = "data", out: str | None = None, work: str | None = None,
    profile: str = "local",
) -> None:  # fmt: skip
    """Train and judge the published systems: the grid of recipes, protocols and seeds.

    After a kill or Ctrl-C the same command goes on; what is done is not done again.

    Example: cxr replicate --recipe plain_64 --protocol honest

    Parameters
    ----------
    recipe : NAME, default all
        A recipe, or an ablation; may be repeated.
    protocol : NAME, default both
        published, honest, or folds (five trainings a seed, without the official test set); may be repeated.
    seeds : LIST
        The repetitions, with commas; else all that are planned.
    cores : NUMBER, default those of this machine
        CPU cores in all; a cell takes four, or what there is.
    dry_run : bool
        Only name the cells and what is done.
    rehearse : bool
        Small cells on phantoms, to try the way: some seconds a cell.
    source : NAME, default the real images that are fetched
        One of those that cxr fetch --help lists.
    out : FOLDER, default runs/replication, or runs/rehearsal
        Results: relative to the project's root.
    work : FOLDER, default OUT/work; for results runs/results/work
        Run folders, notebooks, logs.
    profile : NAME
        local, slurm, or a folder with a Snakemake profile.
    """
    from cxr_utils.replication import replicate as grid_run

    plan = grid_run.plan(
        recipe=recipe or (), protocol=protocol or (), seeds=None if seeds is None else grid_run.parse_seeds(seeds),
        source=source, data_dir=data_dir, out=out, work=work, rehearsal=rehearse, fetch=not dry_run,
    )  # fmt: skip
    if dry_run:
        typer.echo(grid_run.listing(plan))
        return
    typer.echo(f"images   {plan.images}, in {plan.data_dir / plan.source}\nresults  {plan.out}\nwork     {plan.work}")
    failed = grid_run.run(plan, cores=cores, profile=profile)
    for path in grid_run.write_tables(plan):
        typer.echo(f"table    {path}")
    for name, why in failed.items():
        typer.echo(f"failed   {name}: {why}")
    if failed:
        raise CxrError(f"{len(failed)} of {len(plan.cells)} cells failed; the same command tries them again")
    typer.echo(f"done     {len(plan.cells)} cells")


@_command("recipes")
def show_recipes(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """List the published systems that can be trained, or show one of them.

    Example: cxr recipes smote_224

    Parameters
    ----------
    name : NAME
        Show this one, with its layers.
    """
    from cxr_utils.replication import listing

    typer.echo(listing.one_recipe(name) if name else listing.all_recipes())


@_command(no_args_is_help=True)
def audit(
    paths: Annotated[list[Path], typer.Argument()], as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Look for ten common mistakes in code that trains on this dataset: it is read, and never run.

    Of each it says found, can't tell or not found, and where: cells are counted from 0, lines from 1. Of a page (.md)
    it says of how many images its figures can be shares, and whether they contradict each other. The exit status is 0
    if no mistake was found, 1 if one was, 2 if something can't be read.

    Example: cxr audit train.ipynb

    Parameters
    ----------
    paths : PATH
        Notebooks, scripts, pages, or folders of them.
    as_json : bool
        All of it, as JSON.
    """
    import json

    from cxr_utils.replication import auditor

    found, status = auditor.report(map(_absolute, paths))
    page = Path(auditor.__file__).with_suffix(".txt.j2")
    typer.echo(json.dumps(found, indent=2) if as_json else _pages.fill(page, files=found).strip())
    raise typer.Exit(status)


@_command(no_args_is_help=True)
def score(
    predictions: Annotated[Path, typer.Argument()], benchmark: str = "test", split: str = "honest",
    out: Path | None = None, name: str | None = None, classes: str | None = None,
) -> None:  # fmt: skip
    """Judge predictions of any framework as those of the replication are judged.

    Each image of test must be there once; without validation only the threshold .5 is judged.

    Example: cxr score mine.csv --out results/scores/mine.json

    Parameters
    ----------
    predictions : FILE
        A CSV file with the columns path, split (validation or test), label (1 is PNEUMONIA) and probability (of
        PNEUMONIA). Images are known by their file names.
    benchmark : NAME
        test, the official one; or folds: path and probability for each image of train and val, from a network that was
        trained without the image's fold, and if you chose one its threshold.
    split : NAME
        Of test: honest, a digest in results/splits, or a file of your own.
    out : FILE
        Keep the figures, such as results/scores/mine.json, and the predictions beside it; the reading of test goes into
        the ledger there.
    name : NAME, default the file's name
        What it is called.
    """
    from cxr_utils import models
    from cxr_utils.replication import claims
    from cxr_utils.replication import score as scoring

    one_of("benchmark", benchmark, ("test", "folds"))
    meaning = models.Meaning.parse(classes)
    if benchmark == "folds":
        if split != "honest":
            raise BadInput(f"--split {split}: only with --benchmark test; the folds are a split of their own")
        typer.echo(scoring.folds_as_text(scoring.folds(predictions, name=name, out=out, meaning=meaning)))
        return
    record = scoring.score(predictions, split=split, name=name, out=out, meaning=meaning)
    row = claims.grid_row(claims.score_row(record))
    rule = "| --- " * (row.count("|") - 1) + "|"
    typer.echo(f"{scoring.as_text(record)}\n\nas a row of the table of all runs:\n\n{claims.HEAD}\n{rule}\n{row}")
    if out is None:
        typer.echo("\nnothing was kept; with --out it is, and the reading of test enters the ledger")
    else:
        typer.echo(f"\nkept in {out}")


@_command(no_args_is_help=True)
def export(
    run: Annotated[Path, typer.Argument()], to: str = "keras", out: Path | None = None, data_dir: str = "data"
) -> None:
    """Save the model of a run, so that others can open it; with its model card.

    Beside it lies a JSON with its threshold and the check for strange images: keep both together.

    Example: cxr export runs/sample/plain_224-s0 --to onnx

    Parameters
    ----------
    run : RUN
        The folder of a finished run.
    to : FORMAT
        keras, h5 or onnx (starts fastest).
    out : FILE, default exported/model.FORMAT in RUN
        What to write.
    """
    from cxr_utils.predict import export as saving

    made = saving.export(_from_here(run), to=to, out=_absolute(out), data_dir=data_dir)
    typer.echo(f"model  {made}\nwith   {made.with_suffix('.json')}\ncard   {made.parent / 'model-card.md'}")


@_command(no_args_is_help=True)
def predict(
    paths: Annotated[list[Path], typer.Argument()], as_json: Annotated[bool, typer.Option("--json")] = False,
    as_csv: Annotated[bool, typer.Option("--csv")] = False, explain: Path | None = None, classes: str | None = None,
    pixels: str | None = None, logits: bool = False,
) -> None:  # fmt: skip
    """Let a model answer for images: a probability, never a diagnosis.

    Ends with status 1 if an image can't be read; the others are answered.

    Example: cxr predict runs/sample/plain_224-s0/exported/model.onnx chest.jpeg

    Parameters
    ----------
    paths : [MODEL] IMAGE...
        A run folder or a model's file (.keras, .h5, .onnx); left out, the one that is shipped. Then image files (JPEG,
        PNG, TIFF, BMP, WebP, DICOM), folders, or patterns in quotes. A model without the JSON of cxr export needs
        --classes, --pixels or --logits.
    as_json : bool
        Print JSON.
    as_csv : bool
        Print a CSV table.
    explain : FOLDER
        Draw where the model looks, too: a PNG an image, into this folder. Not with ONNX.
    """
    from cxr_utils import models
    from cxr_utils import predict as answering

    if as_json and as_csv:
        raise BadInput("--json, --csv: choose one of them")
    answering.refuse_doubtful([_from_here(path) for path in paths])
    model = _from_here(paths[0]) if answering.is_model(_from_here(paths[0])) else None
    wanted, left_out = answering.find(paths[1:] if model else paths), answering.left_out(paths[1:] if model else paths)
    if left_out:
        _note(f"left out, no images by their names: {len(left_out)} files ({_first(left_out)})")
    if not wanted:
        raise BadInput(f"IMAGE: none is named; after the model {paths[0]} name image files or folders")
    meaning, said = models.Meaning.parse(classes, pixels, logits), bool(classes or pixels or logits)
    predictor = answering.load(model, heat=explain is not None, meaning=meaning, bare=said)
    if explain and predictor.model.network is None:
        way_out = "take the same model as .keras (cxr export RUN --to keras)"
        raise BadInput(f"--explain: {predictor.model.path} is ONNX, which has no gradients to draw from; {way_out}")
    bar = len(wanted) > 16 and sys.stderr.isatty()
    answers = list(answering.predict(predictor, wanted, progress=bar))
    if as_json or as_csv:
        typer.echo((answering.as_json if as_json else answering.as_csv)(predictor, answers, left_out))
    elif text := answering.as_text(predictor, answers):
        typer.echo(text)
    for note in answering.doubts(predictor, answers):
        _note(note)
    if explain:
        drawn = answering.write_heat_maps(predictor, answers, _absolute(explain))
        if drawn and not (as_json or as_csv):
            typer.echo(f"heat maps: {len(drawn)} in {drawn[0].parent}")
    for answer in answers:
        if answer.error:
            print(f"cxr: {printable(answer.path)}: {answer.error}", file=sys.stderr)
    raise typer.Exit(int(any(answer.error for answer in answers)))


@_command(no_args_is_help=True)
def evaluate(
    source: str, model: Path | None = None, path: Path | None = None, table: Path | None = None, by: str | None = None,
    shortcuts: bool = False, part: str | None = None, normal: str = "NORMAL", pneumonia: str = "PNEUMONIA",
    origin: str | None = None, licence: str | None = None, out: Path | None = None, data_dir: str = "data",
    classes: str | None = None, pixels: str | None = None, logits: bool = False,
) -> None:  # fmt: skip
    """Judge a model on any labelled images, such as another hospital's.

    It answers as cxr predict does; the labels are those of the folders.

    Example: cxr evaluate --source folder --path hospital --table films.csv --by view

    Parameters
    ----------
    source : NAME
        One of those that cxr fetch --help lists; fetched, if it is not there yet.
    model : MODEL, default the shipped one
        A run folder or a model's file (.keras, .h5, .onnx). Without its JSON it is judged at .5 only.
    path : PATH
        With --source folder: a folder or zip file, read where it lies. In it are folders NORMAL and PNEUMONIA, or one
        of them, in any case, perhaps below train, val or test, perhaps with a folder a patient; files may have any
        name (JPEG, PNG, DICOM, ...).
    table : FILE
        A CSV table with a row an image: the column path says which, patient whose it is; and any others.
    by : LIST
        Columns of the table: figures for each of their values, ages in bands.
    shortcuts : bool
        Cover the chest, or all but the border, and see what the model still knows.
    part : NAME, default test if there, else all
        test, val, train or all.
    normal : NAMES
        Folders with images without pneumonia.
    pneumonia : NAMES
        Folders with images of pneumonia.
    origin : TEXT
        Where the images come from, for the record.
    licence : TEXT
        Under which they may be used, for the record.
    out : FILE
        Keep the figures, such as results/evaluations/mine.json, and the predictions beside it; a reading of the
        official test set goes into the ledger there, and one of other images if a ledger is there.
    """
    from cxr_utils import models
    from cxr_utils.predict import elsewhere as judging
    from cxr_utils.predict import labelled

    record = judging.judge_model(
        _from_here(model), source=source, data_dir=data_dir, path=_absolute(path), part=part, out=out,
        meaning=models.Meaning.parse(classes, pixels, logits), table=_absolute(table),
        by=[name.strip() for name in by.split(",")] if by else (), covered=shortcuts,
        named=labelled.classes(normal, pneumonia), origin=origin, licence=licence, progress=sys.stderr.isatty(),
    )  # fmt: skip
    typer.echo(judging.as_text(record))
    if of_test := record["of_test"]:
        entered = "it is in the ledger" if out else "it was not entered; with --out it is"
        typer.echo(f"\na reading of the official test set, {of_test:,} of its images by their names: {entered}")
    if out is not None:
        typer.echo(f"\nkept in {out}, the predictions in {out.with_suffix('.predictions.csv.gz')}")


@_command("app")
def page(
    model: Path | None = None, host: str = "127.0.0.1", port: Annotated[int, typer.Option(min=0, max=65535)] = 7860,
    auth: str | None = None, public_url: str | None = None,
) -> None:  # fmt: skip
    """Open a page in the browser: drop images, see probability, threshold, heat map and model card.

    Only this machine can reach it. Images are deleted when they are answered, and nothing is fetched from elsewhere.

    Example: cxr app --model runs/sample/plain_224-s0/exported

    Parameters
    ----------
    model : MODEL, default the shipped one
        A run folder or a model's file (.keras, .h5, .onnx).
    host : ADDRESS
        Where to listen; 0.0.0.0 lets others in, with --auth.
    port : NUMBER
        0 takes any.
    auth : USER
        Let in this user alone, with the password in the variable CXR_APP_PASSWORD, or one asked for now.
    public_url : ADDRESS
        Behind a proxy (nginx, JupyterHub): the address that people open, such as https://cxr.example.org/chest; with
        --auth.
    """
    from cxr_utils import predict as answering
    from cxr_utils.predict import app as web

    web.check_open(host, public_url, auth)
    password = os.environ.get(web.PASSWORD)
    if auth is not None and password is None:
        if not sys.stdin.isatty():
            raise BadInput(f"--auth {auth}: no password; put it into the variable {web.PASSWORD}")
        password = typer.prompt("password", hide_input=True, confirmation_prompt=True)
    predictor = answering.load(_from_here(model), heat=True)
    who = (auth, password) if auth is not None else None
    web.serve(predictor, host=host, port=port, auth=who, public_url=public_url, told=typer.echo)


def main(arguments: list[str] | None = None) -> int:
    """Run ``cxr``; every error is one line on standard error.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of those of the command line.

    Returns
    -------
    int
        The exit status: 0, 1 for a failure, 2 for a wrong input, 130 after Ctrl-C.
    """
    _open_streams()
    for stream in (sys.stdout, sys.stderr):  # on a legacy code page a name must not cost the answers
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    command = typer.main.get_command(app)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _note(printable(message))
        try:
            status = command.main(args=arguments, prog_name="cxr", standalone_mode=False)
        except CxrError as error:
            print(f"cxr: {error}", file=sys.stderr)
            return error.exit_status
        except KeyboardInterrupt:
            return _stopped()
        except MemoryError:
            print("cxr: too little memory for this; close other programs, or give fewer images", file=sys.stderr)
            return 1
        except OSError as error:
            where = f"{printable(error.filename)}: " if error.filename else ""
            print(f"cxr: {where}{error.strerror or error}; {advice(error)}, then the same command goes on",
                  file=sys.stderr)  # fmt: skip
            return 1
        except Exception as error:
            if not hasattr(error, "format_message"):  # Typer's own errors have it, and no public base class
                raise
            return _misused(error)
    return _stopped() if status == 130 else int(status or 0)


def _open_streams() -> None:
    """Open streams that are closed (``2>&-``, cron): else a file that is written would take the number of one."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)
    os.close(number)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))


def _stopped() -> int:
    print("\ncxr: stopped; the same command goes on from here", file=sys.stderr)
    return 130


def _misused(error: Exception) -> int:
    """Report a wrong option or argument, as Typer found it, in one line."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 0
    context = getattr(error, "ctx", None)
    name = context.command_path if context else "cxr"
    message = " ".join(error.format_message().split())
    print(f"{name}: {message.rstrip('.')}; see {name} --help", file=sys.stderr)
    return 2
