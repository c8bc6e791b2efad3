"""Write the repository's address wherever it is needed: pyproject.toml is the only place where a person writes it.

Once there is an address, put it into ``pyproject.toml``, and run this file:

    [project.urls]
    Repository = "https://github.com/OWNER/NAME"

    python notebooks/source/address.py

It writes the set-up cell of each notebook, the buttons at its top, the marked blocks of pages, and the line of
``CITATION.cff``. While no address is set, none of these is there. Nothing is executed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BRANCH = "main"
#: Pages that hold blocks to be filled, such as ``<!-- buttons:begin -->``; see `blocks`.
PAGES = ("README.md", "docs/browser.md")

#: The set-up cell of each notebook. What stands for the address is put in by `setup`.
SETUP = """\
# Does nothing where the course is installed. Elsewhere (Colab, Kaggle) it looks for the course's folder, or fetches it.
import importlib.util, os, subprocess, sys
from pathlib import Path

if importlib.util.find_spec("cxr_utils") is None:
    here, attached, address = Path.cwd(), Path("/kaggle/input"), ADDRESS
    for fetch in (False, True):
        if fetch and address:
            subprocess.run(["git", "clone", "--quiet", "--depth=1", address, "course"])
        near = [here, *here.parents, *here.glob("*/"), *(p for n in range(1, 6) for p in attached.glob("*/" * n))]
        course = next((place for place in near if (place / "cxr_utils" / "__init__.py").is_file()), None)
        if course:
            break
    else:
        raise ModuleNotFoundError(MISSING)
    sys.path.insert(0, str(course))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(course), os.environ.get("PYTHONPATH")]))
    if attached not in course.parents:  # what is attached can only be read
        os.chdir(course / "notebooks")
"""
MISSING = {
    True: "the course could not be fetched (is the internet switched on?): attach or upload its folder, as "
    "docs/browser.md says, or choose the Python of .venv as kernel",
    False: "the course's folder is not here: upload it (Colab) or attach it as a dataset (Kaggle), as docs/browser.md "
    "says, or choose the Python of .venv as kernel",
}


def repository(root: Path = ROOT) -> str:
    """Return the address of the repository, empty while none is set."""
    urls = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {})
    found = urls.get("Repository", "").removesuffix("/").removesuffix(".git")
    if found and not re.fullmatch(r"https://[\w.-]+/[\w./~-]+", found):
        raise ValueError(f"pyproject.toml: Repository is {found!r}; it must be such as https://github.com/OWNER/NAME")
    return found


def setup(address: str) -> str:
    """Return the source of the set-up cell."""
    return (
        SETUP.replace("ADDRESS", repr(address).replace("'", '"'))
        .replace("MISSING", repr(MISSING[bool(address)]))
        .strip()
    )


def buttons(address: str, path: str) -> str:
    """Return the links that open a notebook in a browser; empty where the address is none that the hosts know."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", address)
    if not found:
        return ""
    file = f"{found[1]}/blob/{BRANCH}/{path}"
    hosts = {
        "Colab": f"https://colab.research.google.com/github/{file}",
        "Kaggle": f"https://kaggle.com/kernels/welcome?src=https://github.com/{file}",
        "Binder": f"https://mybinder.org/v2/gh/{found[1]}/{BRANCH}?urlpath=lab/tree/{path}",
    }
    return "Open in " + " · ".join(f"[{host}]({link})" for host, link in hosts.items())


def blocks(address: str, root: Path = ROOT) -> dict[str, str]:
    """Return what the marked blocks of pages hold, by their names."""
    start = "notebooks/00_whole_way.ipynb"
    table = "".join(
        f"| [{path.stem[:2]}](../notebooks/{path.stem}.ipynb) | {opened.removeprefix('Open in ')} |\n"
        for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
        if (opened := buttons(address, f"notebooks/{path.name}"))
    )
    return {
        "buttons": f"{buttons(address, start)}\n" if buttons(address, start) else "",
        "launch": f"| notebook | open in |\n| --- | --- |\n{table}" if table else "",
    }


def page(text: str, address: str, root: Path = ROOT) -> str:
    """Return a page with its marked blocks filled; what has no mark stays as it is."""
    for name, content in blocks(address, root).items():
        text = re.sub(
            rf"(?s)(<!-- {name}:begin[^>]*-->\n).*?(<!-- {name}:end -->)",
            lambda found, content=content: f"{found[1]}{content}{found[2]}",
            text,
        )
    return text


def citation(text: str, address: str) -> str:
    """Return CITATION.cff with the address, or without."""
    text = re.sub(r"(?m)^repository-code: .*\n", "", text)
    return re.sub(r"(?m)^(license: .*\n)", rf'\1repository-code: "{address}"\n' if address else r"\1", text)


def written(root: Path = ROOT) -> dict[Path, str]:
    """Return the text of each page that speaks of the address, as it must be."""
    address = repository(root)
    found = {root / "CITATION.cff": citation((root / "CITATION.cff").read_text(encoding="utf-8"), address)}
    for name in PAGES:
        if (root / name).is_file():
            found[root / name] = page((root / name).read_text(encoding="utf-8"), address, root)
    return found


def main() -> int:
    """Write all that speaks of the address; outputs of notebooks stay as they are."""
    import nbformat

    import build

    for path, text in written().items():
        path.write_text(text, encoding="utf-8", newline="\n")
    for script in build.scripts([]):
        for solved in (False, True):
            wanted, path = build.build(script, solved=solved), build.target(script, solved=solved)
            there = nbformat.read(path, as_version=4)
            fresh = {
                cell.id: cell.source for cell in wanted.cells if cell.id in (wanted.cells[0].id, wanted.cells[1].id)
            }
            for cell in there.cells:
                cell.source = fresh.get(cell.id, cell.source)
            nbformat.write(there, path)
    print(f"written for {repository() or 'no address: pyproject.toml has no Repository in [project.urls]'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
