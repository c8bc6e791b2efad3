"""A learner does a lesson with `cxr lab` in a real browser, in a fresh clone of the course."""

import json
import os
import re
import shutil
import socket
import subprocess
import sysconfig
import threading
from pathlib import Path

import pytest
from helpers import WATCH

COURSE = Path(__file__).parents[2]
LESSON = "04_train.ipynb"
PATIENCE = 900_000  # milliseconds: on a busy machine everything takes long, and nothing here is timed


def git(folder, *words):
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path, sample_data):
    """Return a clone of the project as it stands here, committed or not, in which the sample is drawn already."""
    folder = tmp_path / "clone"
    for name in git(COURSE, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if (COURSE / name).is_file():  # neither what was deleted, nor a folder or link of another project
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(COURSE / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "All")
    shutil.copytree(sample_data, folder / "data", dirs_exist_ok=True)
    return folder


@pytest.fixture
def learner(clone, tmp_path):
    """Return the command and the variables of somebody who has never used Jupyter, and whom `WATCH` watches."""
    (tmp_path / "home/watch").mkdir()
    (tmp_path / "home/watch/sitecustomize.py").write_text(WATCH)  # each Python reads it: server and kernels too
    strange = re.compile(r"CXR_(?!PRECISION)|JUPYTER|IPYTHON|MPL|TF_|KERAS|TQDM|XDG_|.*_proxy$", re.IGNORECASE)
    env = {name: value for name, value in os.environ.items() if not strange.match(name)}
    env |= {"HOME": str(tmp_path / "home"), "ASKED": str(tmp_path / "asked.txt")}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "home/watch"), str(clone)])
    return {"args": [shutil.which("cxr", path=sysconfig.get_path("scripts")), "lab"], "env": env, "cwd": clone}


@pytest.fixture
def address(learner):
    """Start `cxr lab`, and return the address that it prints; at the end the learner has shut it down."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*learner["args"], "--no-browser", "--port", str(port)]
    server = subprocess.Popen(**learner | {"args": command}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, start_new_session=True)  # fmt: skip
    try:
        said = []
        for line in server.stdout:
            said.append(line)
            if found := re.search(rf"http://127\.0\.0\.1:{port}/lab\?token=\w+", line):
                break
        else:
            pytest.fail(f"JupyterLab did not start: {''.join(said)}")
        threading.Thread(target=lambda: said.extend(server.stdout), daemon=True).start()
        yield found[0]
        assert server.wait(PATIENCE / 1000) == 0, "".join(said)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, 15)
            server.wait()


def choose(page, menu, item):
    page.locator(".lm-MenuBar").get_by_text(menu, exact=True).click()
    page.locator(".lm-Menu").get_by_text(item, exact=True).click()


def run(page, item, *, meanwhile=None, queued="at(-1)"):
    """Choose an item of the menu Run; wait until cells are `queued`, and then none any more; see that none failed."""
    choose(page, "Run", item)
    prompts = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(one => one.innerText.includes('*'))"
    page.wait_for_function(f"{prompts}.{queued}")
    errors = page.locator(".jp-OutputArea-output[data-mime-type$=error]")
    if meanwhile:
        meanwhile.or_(errors).first.wait_for()
    page.wait_for_function(f"!{prompts}.includes(true)")
    assert [error.inner_text() for error in errors.all()] == []


def cell(page, text):
    return page.locator(".jp-CodeCell").filter(has_text=re.compile(text))


def guess(page, name, value):
    """Put a value in the place of None, as one does: two clicks on the word, and type."""
    cell(page, rf"\b{name} = None").get_by_text("None", exact=True).dblclick()
    page.keyboard.type(value)


def test_a_learner_does_a_lesson(browser, clone, learner, address, tmp_path):
    expect = pytest.importorskip("playwright.sync_api").expect
    expect.set_options(timeout=PATIENCE)
    window = browser.new_context(viewport={"width": 1280, "height": 900})
    window.set_default_timeout(PATIENCE)
    page, asked, failed = window.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda opened: asked.append(opened.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    fresh = (clone / "lab" / LESSON).read_bytes()

    page.goto(address)
    page.locator(".jp-DirListing-item").get_by_text(LESSON).dblclick()
    guess(page, "heaviest", '"dense"')
    guess(page, "right", "0.9")
    trained = cell(page, r"run = training\.fit")
    run(page, "Run All Cells", meanwhile=trained.get_by_text(re.compile(r"\d/8 \[")))
    expect(cell(page, r"lessons\.score")).to_contain_text("of your 2 guesses came true.")
    expect(cell(page, r"rows = \[")).to_contain_text("✅ Most weights: you said dense, it is Dense.")
    expect(trained).to_contain_text("Right in validation: you said 0.9, it is 0.")
    expect(trained.locator("[data-mime-type$=stderr]")).to_have_count(0)  # it would be red, as if something went wrong

    trained.locator(".cm-line").filter(has_text="epochs=settings.epochs,").click()
    for key in ["End"] * 3 + ["Backspace"] * len("settings.epochs,"):  # the line may be wrapped
        page.keyboard.press(key)
    page.keyboard.type("2,")
    run(page, "Run Selected Cell", queued="includes(true)")
    trained.scroll_into_view_if_needed()
    runs = {path.parent.name: json.loads(path.read_text()) for path in clone.glob("runs/sample/plain_224-s0*/run.json")}
    assert runs.pop("plain_224-s0")["epochs"] == 8 and [record["epochs"] for record in runs.values()] == [2]
    page.keyboard.press("Control+s")
    expect(page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)

    page.locator(".jp-NotebookPanel").get_by_role("link", name="optimizer").first.click()
    words = page.locator(".jp-MarkdownViewer")
    expect(words.get_by_role("heading", name="Optimizer")).to_be_in_viewport()
    expect(words.get_by_role("heading", name="Glossary")).not_to_be_in_viewport()

    told = subprocess.run(**learner | {"args": [*learner["args"], "--reset", "04", "--only"]}, check=True,
                          capture_output=True, text=True).stdout  # fmt: skip
    assert told == f"{LESSON}: a fresh copy; yours is 04_train-mine.ipynb now\n"
    assert (clone / "lab" / LESSON).read_bytes() == fresh
    mine = (clone / "lab/04_train-mine.ipynb").read_text(encoding="utf-8")
    assert all(text in mine for text in ("right = 0.9", "epochs=2", "you said 0.9", "of your 2 guesses"))
    page.locator(".lm-TabBar-tab").get_by_text(LESSON).click()
    choose(page, "File", "Reload Notebook from Disk")
    expect(cell(page, r"\bright = None")).to_be_attached()
    expect(page.locator(".jp-CodeCell .jp-OutputArea-output")).to_have_count(0)
    assert page.get_by_text("Jupyter news").count() == 0

    choose(page, "File", "Shut Down")
    page.get_by_role("button", name="Shut Down", exact=True).click()
    page.get_by_text("Server stopped").wait_for()
    window.close()
    assert failed == [] and not (tmp_path / "asked.txt").exists()
    here = address.partition("/lab?")[0].partition(":")[2]
    assert [url for url in asked if not re.match(rf"(http|ws):{here}/|data:|blob:", url)] == []
    assert git(clone, "status", "--porcelain") == ""
