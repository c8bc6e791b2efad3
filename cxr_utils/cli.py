"""The command ``cxr``: thin over the modules that do the work."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from cxr_utils import __version__, files
from cxr_utils.errors import BadInput, CxrError, advice, printable

app = typer.Typer(
    name="cxr",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: cxr check, then cxr run. Help of a command: cxr run --help.",
)

DataDir = Annotated[
    str, typer.Option("--data-dir", metavar="FOLDER", help="Where images are kept; relative to the project's root.")
]
Classes = Annotated[str | None, typer.Option(
    metavar="LIST", show_default="NORMAL,PNEUMONIA",
    help="The classes as training numbered them: two units have this order, and one unit gives the probability of the "
    "last, so of PNEUMONIA by default.",
)]  # fmt: skip
Pixels = Annotated[str | None, typer.Option(
    metavar="RANGE", show_default="0..1; or 0..255, if a Keras model without JSON begins with Rescaling",
    help="Black and white as the model wants them, in floats: 0..255, -1..1.",
)]  # fmt: skip
Logits = Annotated[bool, typer.Option("--logits", help="Its outputs still need a sigmoid (one unit) or softmax (two).")]
Seed = Annotated[int, typer.Option(metavar="NUMBER", min=0, max=files.MOST_SEED, help="Start of every random choice.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cxr {__version__}")
        raise typer.Exit()


@app.callback()
def _cxr(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Read pneumonia from chest X-rays with CNNs: a course that runs from one command.

    For teaching and research; this is no medical device.
    """


class _ListsSources(typer.core.TyperCommand):
    """A command whose help ends with the sources, which are looked for only then."""

    def format_epilog(self, ctx: typer.Context, formatter: Any) -> None:
        """Write them down."""
        from cxr_utils import sources

        with formatter.section("Sources"):
            formatter.write_dl([(name, sources.get(name).about) for name in sources.names()])


@app.command(no_args_is_help=True, cls=_ListsSources)
def fetch(
    source: Annotated[str, typer.Option(metavar="NAME", help="One of those below.")],
    path: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="With --source folder: the folder or zip file; relative to where you are now."
        ),
    ] = None,
    data_dir: DataDir = "data",
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=0,
            max=files.MOST_SEED,
            help="With --source sample: which phantoms.",
            show_default=False,
        ),  # fmt: skip
    ] = None,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Keep what was downloaded, too.")] = False,
) -> None:
    """Get the images of a source ready.

    Once done, a second call finds them and touches nothing. A download that broke is gone on with
    (PneumoniaMNIST's starts again).

    Example: cxr fetch --source folder --path ~/Downloads/archive.zip
    """
    from cxr_utils import course, dataset, sources

    # A path on the command line is meant from where the user stands, not from the project's root.
    given = _absolute(path) if path else None
    folder = sources.fetch(
        source, data_dir=data_dir, path=given, seed=seed, keep_archive=keep_archive, progress=sys.stderr.isatty()
    )
    about = sources.describe(folder)
    typer.echo(f"{about['title']} ({about['licence']})" + (" - synthetic" if about["synthetic"] else ""))
    if packed := about.get("packed"):
        typer.echo(f"copies at {packed.get('size')} px, packed from the source {packed.get('source')}")
    typer.echo(f"in {folder}\n")
    typer.echo(dataset.counts(dataset.scan(folder)).to_string())
    left_out = about.get("left_out", [])
    if left_out:
        shown = ", ".join(map(str, left_out[:3])) + (", …" if len(left_out) > 3 else "")
        typer.echo(f"\nleft out: {len(left_out)} entries that are no images of the dataset ({shown})")
    if (unreadable := len(dataset.quarantine(folder))) > 0:
        typer.echo(f"not readable: {unreadable} images, listed in {folder / 'quarantine.csv'}")
    options = "" if source == "sample" else f" --source {source} --profile workshop"
    options += "" if data_dir == "data" else f" --data-dir {data_dir}"
    where = course.default_run_dir(source, "sample" if source == "sample" else "workshop")
    typer.echo(f"\nnext: cxr run{options}   (results in {where})")


@app.command(no_args_is_help=True)
def pack(
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The file to write; relative to where you are now.")],
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which fetched source; by default originals before copies, and phantoms last.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = "data",
) -> None:
    """Pack all images at 224 px into one file, about 40 MB: for a stick, or slow Wi-Fi.

    It carries licence, attribution and a hash of each image. Take it in by cxr fetch --source folder --path OUT.zip.

    Example: cxr pack chests.zip --source kaggle
    """
    from cxr_utils.sources import pack as packing

    made = packing.pack(_absolute(out), source=source, data_dir=data_dir, progress=sys.stderr.isatty())
    mark = " - synthetic" if made["synthetic"] else ""
    typer.echo(f"{made['title']} ({made['licence']}){mark}, from the source {made['source']}")
    typer.echo(f"{made['images']:,} images at {packing.SIZE} px, {made['bytes'] / 1e6:,.1f} MB, in {made['path']}")
    typer.echo(f"\nnext, on another computer: cxr fetch --source folder --path {made['path'].name}")


@app.command()
def run(
    notebooks: Annotated[
        list[str] | None,
        typer.Argument(metavar="NOTEBOOK", help="Numbers or names, such as 04 or 04_train; none is all."),
    ] = None,
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="How big: sample (minutes, 64 px), workshop (96 px) or full (hours).")
    ] = "sample",
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="One of those that cxr fetch --help lists. May be left out with the profile sample.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = "data",
    run_dir: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Where results go; relative to the project's root. "
            "By default runs/sample, and runs/SOURCE-PROFILE for other sources.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    core: Annotated[bool, typer.Option("--core", help="Only what the half-day workshop needs.")] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            metavar="NAME=VALUE",
            help="Set a further parameter of a notebook; may be repeated.",
            show_default=False,
        ),
    ] = None,
    otherwise: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="sample: go on with the phantoms when the source can't be fetched.", show_default=False
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Start over: remove what cxr left in this run folder; what others put there stays."
        ),
    ] = False,
) -> None:
    """Execute the notebooks in order, with one HTML report.

    After an error or Ctrl-C the same command goes on from there; finished notebooks are skipped.

    Example: cxr run 04 05 --profile workshop --source folder
    """
    from cxr_utils import course, sources
    from cxr_utils.course import report

    if otherwise not in (None, "sample"):
        raise BadInput(f"--otherwise {otherwise}: only sample needs no download")
    if otherwise and source and sources.get(source).archive:
        try:
            sources.fetch(source, data_dir=data_dir, progress=sys.stderr.isatty())
        except BadInput:
            raise
        except CxrError as error:
            typer.echo(f"cxr: {error}\ncxr: note: going on with the phantoms, profile sample", err=True)
            source, profile = "sample", "sample"

    result = course.run(
        notebooks or (),
        profile=profile,
        source=source,
        data_dir=data_dir,
        run_dir=run_dir,
        seed=seed,
        core=core,
        parameters=course.parse(parameter or ()),
        fresh=fresh,
    )
    typer.echo()
    if result.skipped:
        typer.echo(f"finished earlier and skipped: {', '.join(result.skipped)} (--fresh starts over)")
    if result.executed:
        typer.echo(f"executed in {result.seconds / 60:.1f} minutes: {', '.join(result.executed)}")
    if table := report.closing_table(result.folder, synthetic=result.synthetic):
        typer.echo(f"\n{table}")
    typer.echo(f"\nexecuted notebooks  {result.folder / 'notebooks'}")
    typer.echo(f"report              {result.report}")


@app.command()
def lab(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--in", metavar="FOLDER", help="Where the copies lie; by default lab, in the project.", show_default=False
        ),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LESSON",
            help="A fresh copy of this lesson, such as 04; yours is kept. May be repeated.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="Write the copies, and open nothing.")] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    port: Annotated[int | None, typer.Option(help="JupyterLab's port.", min=1, max=65535, show_default=False)] = None,
) -> None:
    """Do the course: write your own copies of the lessons, without outputs, and open JupyterLab there.

    What you wrote is never overwritten: a lesson that has changed since comes beside yours.

    Example: cxr lab --reset 04
    """
    from cxr_utils.course import lab as copies

    place = "lab" if folder is None else _absolute(folder)
    for line in copies.write(place, reset=reset or ()):
        typer.echo(line)
    if not only:
        raise typer.Exit(copies.start(place, browser=browser, port=port))


@app.command()
def check(
    data_dir: DataDir = "data",
    speed: Annotated[
        bool, typer.Option("--speed/--no-speed", help="Train for ten seconds to foretell the course's minutes.")
    ] = True,
) -> None:
    """See whether this machine is ready for the course.

    Each line says what is there and, where something is missing, what to do.
    Ends with status 1 if something necessary is missing.
    """
    from cxr_utils.course import check as machine

    missing = 0
    for finding in machine.findings(data_dir=data_dir, measure_speed=speed):
        typer.echo(machine.lines(finding))
        missing += bool(finding.missing) and finding.needed
    typer.echo("\nready for the course" if not missing else f"\nnot ready: {missing} necessary things are missing")
    raise typer.Exit(1 if missing else 0)


@app.command()
def replicate(
    recipe: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A recipe, or an ablation; may be repeated.", show_default="all"),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="published or honest; may be repeated.", show_default="both"),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="LIST", help="The repetitions, with commas; else all that are planned.")
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=1,
            help="CPU cores in all; a cell takes four, or what there is.",
            show_default="those of this machine",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name the cells and what is done.")] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Small cells on phantoms, to try the way: some seconds a cell.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="folder, kaggle, medmnist or sample.", show_default="the real images that are fetched"
        ),
    ] = None,
    data_dir: DataDir = "data",
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Results: relative to the project's root.",
            show_default="runs/replication, or runs/rehearsal",
        ),
    ] = None,
    work: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Run folders, notebooks, logs.",
            show_default="OUT/work; for results runs/results/work",
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="local, slurm, or a folder with a Snakemake profile.")
    ] = "local",
) -> None:
    """Train and judge the published systems: the grid of recipes, protocols and seeds.

    After a kill or Ctrl-C the same command goes on; what is done is not done again.

    Example: cxr replicate --recipe plain_64 --protocol honest
    """
    from cxr_utils.replication import replicate as grid_run

    plan = grid_run.plan(
        recipe=recipe or (),
        protocol=protocol or (),
        seeds=None if seeds is None else grid_run.parse_seeds(seeds),
        source=source,
        data_dir=data_dir,
        out=out,
        work=work,
        rehearsal=rehearse,
        fetch=not dry_run,
    )
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


@app.command("recipes")
def show_recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this one, with its layers.", show_default=False)
    ] = None,
) -> None:
    """List the published systems that can be trained, or show one of them.

    Example: cxr recipes smote_224
    """
    from cxr_utils.replication import listing

    typer.echo(listing.one_recipe(name) if name else listing.all_recipes())


@app.command(no_args_is_help=True)
def score(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A CSV file with the columns path, split (validation or test), label (1 is PNEUMONIA) and "
            "probability (of PNEUMONIA). Images are known by their file names.",
            show_default=False,
        ),
    ],
    split: Annotated[
        str, typer.Option(metavar="NAME", help="honest, a digest in results/splits, or a file of your own.")
    ] = "honest",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the figures, such as results/scores/mine.json, and the predictions beside it; the reading "
            "of test goes into the ledger there.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What it is called.", show_default="the file's name")
    ] = None,
    classes: Classes = None,
) -> None:
    """Judge predictions of any framework as those of the replication are judged.

    Each image of test must be there once; without validation only the threshold .5 is judged.

    Example: cxr score mine.csv --out results/scores/mine.json
    """
    from cxr_utils import models
    from cxr_utils.replication import claims
    from cxr_utils.replication import score as scoring

    record = scoring.score(predictions, split=split, name=name, out=out, meaning=models.Meaning.parse(classes))
    row = claims.grid_row(claims.score_row(record))
    rule = "| --- " * (row.count("|") - 1) + "|"
    typer.echo(f"{scoring.as_text(record)}\n\nas a row of the table in README:\n\n{claims.HEAD}\n{rule}\n{row}")
    if out is None:
        typer.echo("\nnothing was kept; with --out it is, and the reading of test enters the ledger")
    else:
        typer.echo(f"\nkept in {out}")


@app.command(no_args_is_help=True)
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.", show_default=False)],
    to: Annotated[str, typer.Option(metavar="FORMAT", help="keras, h5 or onnx (starts fastest).")] = "keras",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What to write.", show_default="exported/model.FORMAT in RUN")
    ] = None,
    data_dir: DataDir = "data",
) -> None:
    """Save the model of a run, so that others can open it; with its model card.

    Beside it lies a JSON with its threshold and the check for strange images: keep both together.

    Example: cxr export runs/sample/plain_224-s0 --to onnx
    """
    from cxr_utils.predict import export as saving

    made = saving.export(_from_here(run), to=to, out=_absolute(out) if out else None, data_dir=data_dir)
    typer.echo(f"model  {made}\nwith   {made.with_suffix('.json')}\ncard   {made.parent / 'model-card.md'}")


def _absolute(path: Path) -> Path:
    """Take a path from where the user stands."""
    return files.expand(path).absolute()


def _from_here(path: Path) -> Path:
    """Take a path from where the user stands if it is there, else leave it to the project's root."""
    here = _absolute(path)
    return here if here.exists() else path


@app.command(no_args_is_help=True)
def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] IMAGE...",
            help="A run folder or a model's file (.keras, .h5, .onnx); left out, the one that is shipped. Then image "
            "files (JPEG, PNG, DICOM), folders, or patterns in quotes. A model without the JSON of cxr export needs "
            "--classes, --pixels or --logits.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a CSV table.")] = False,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Draw where the model looks, too: a PNG an image, into this folder. Not with ONNX.",
            show_default=False,
        ),
    ] = None,
    classes: Classes = None,
    pixels: Pixels = None,
    logits: Logits = False,
) -> None:
    """Let a model answer for images: a probability, never a diagnosis.

    Ends with status 1 if an image can't be read; the others are answered.

    Example: cxr predict runs/sample/plain_224-s0/exported/model.onnx chest.jpeg
    """
    from cxr_utils import models
    from cxr_utils import predict as answering

    if as_json and as_csv:
        raise BadInput("--json, --csv: choose one of them")
    answering.refuse_doubtful([_from_here(path) for path in paths])
    model = _from_here(paths[0]) if answering.is_model(_from_here(paths[0])) else None
    wanted, left_out = answering.find(paths[1:] if model else paths), answering.left_out(paths[1:] if model else paths)
    if left_out:
        first = ", ".join(printable(path) for path in left_out[:3]) + (", …" if len(left_out) > 3 else "")
        print(f"cxr: note: left out, no images by their names: {len(left_out)} files ({first})", file=sys.stderr)
    if not wanted:
        raise BadInput(f"IMAGE: none is named; after the model {paths[0]} name image files or folders")
    meaning, said = models.Meaning.parse(classes, pixels, logits), bool(classes or pixels or logits)
    predictor = answering.load(model, heat=explain is not None, meaning=meaning, bare=said)
    if explain and predictor.model.network is None:
        raise BadInput(
            f"--explain: {predictor.model.path} is in the form of ONNX, which has no gradients to draw from; take the "
            "same model as .keras (cxr export RUN --to keras)"
        )
    bar = len(wanted) > 16 and sys.stderr.isatty()
    answers = list(answering.predict(predictor, wanted, progress=bar))
    if as_json or as_csv:
        typer.echo((answering.as_json if as_json else answering.as_csv)(predictor, answers, left_out))
    elif text := answering.as_text(predictor, answers):
        typer.echo(text)
    for note in answering.doubts(predictor, answers):
        print(f"cxr: note: {note}", file=sys.stderr)
    if explain:
        drawn = answering.write_heat_maps(predictor, answers, _absolute(explain))
        if drawn and not (as_json or as_csv):
            typer.echo(f"heat maps: {len(drawn)} in {drawn[0].parent}")
    for answer in answers:
        if answer.error:
            print(f"cxr: {printable(answer.path)}: {answer.error}", file=sys.stderr)
    raise typer.Exit(int(any(answer.error for answer in answers)))


@app.command(no_args_is_help=True)
def evaluate(
    source: Annotated[
        str, typer.Option(metavar="NAME", help="sample, folder, kaggle or medmnist; fetched, if it is not there yet.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="A run folder or a model's file (.keras, .h5, .onnx). Without its JSON it is judged at .5 only.",
            show_default="the shipped one",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="With --source folder: a folder or zip file with train, val or test, and in these NORMAL and "
            "PNEUMONIA; the files may have any name. Give each hospital a --data-dir of its own.",
            show_default=False,
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="test, val, train or all.", show_default="test if there, else all"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the figures, such as results/evaluations/mine.json, and the predictions beside it; a reading "
            "of the official test set goes into the ledger there.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = "data",
    classes: Classes = None,
    pixels: Pixels = None,
    logits: Logits = False,
) -> None:
    """Judge a model on any labelled images, such as another hospital's.

    It answers as cxr predict does; the labels are those of the folders.

    Example: cxr evaluate --source folder --path hospital --data-dir theirs
    """
    from cxr_utils import models
    from cxr_utils.predict import elsewhere as judging

    record = judging.evaluate(
        _from_here(model) if model else None,
        source=source,
        data_dir=data_dir,
        path=_absolute(path) if path else None,
        part=part,
        out=out,
        meaning=models.Meaning.parse(classes, pixels, logits),
        progress=sys.stderr.isatty(),
    )
    typer.echo(judging.as_text(record))
    if of_test := record["of_test"]:
        entered = "it is in the ledger" if out else "it was not entered; with --out it is"
        typer.echo(f"\na reading of the official test set, {of_test:,} of its images by their names: {entered}")
    if out is not None:
        typer.echo(f"\nkept in {out}")


@app.command("app")
def page(
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", help="A run folder or a model's file (.keras, .h5, .onnx).", show_default="the shipped one"
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets others in, with --auth.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="NUMBER", min=0, max=65535, help="0 takes any.")] = 7860,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER",
            help="Let in this user alone, with the password in the variable CXR_APP_PASSWORD, or one asked for now.",
            show_default=False,
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Behind a proxy (nginx, JupyterHub): the address that people open, such as "
            "https://cxr.example.org/chest; with --auth.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Open a page in the browser: drop images, see probability, threshold, heat map and model card.

    Only this machine can reach it. Images are deleted when they are answered, and nothing is fetched from elsewhere.

    Example: cxr app --model runs/sample/plain_224-s0/exported
    """
    from cxr_utils import predict as answering
    from cxr_utils.predict import app as web

    if auth is None and not web.is_local(host):
        raise BadInput(f"--host {host}: lets other machines in; that needs --auth USER, and a password")
    if auth is None and public_url is not None:
        raise BadInput(f"--public-url {public_url}: lets others in; that needs --auth USER, and a password")
    password = os.environ.get(web.PASSWORD)
    if auth is not None and password is None:
        if not sys.stdin.isatty():
            raise BadInput(f"--auth {auth}: no password; put it into the variable {web.PASSWORD}")
        password = typer.prompt("password", hide_input=True, confirmation_prompt=True)
    predictor = answering.load(_from_here(model) if model else None, heat=True)
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
        warnings.showwarning = lambda message, *_, **__: print(f"cxr: note: {printable(message)}", file=sys.stderr)
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
