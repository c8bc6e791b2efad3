"""The site is made without a warning, and read without a network: links, anchors, search, figures and their texts."""

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_utils import evaluation

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
LESSON = "notebooks/06_evaluate"
LOOKED_AT = ("index", "README", LESSON, "notebooks/glossary", "results/claims", "site/api/cxr_utils.explain",
             "teaching/plans", "teaching/guide/06_evaluate", "teaching/setup/windows")  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build it once."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-qW", "--keep-going", "-j", "2", "-c", "site"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    built = subprocess.run(
        [*command, "-d", out / "doctrees", ".", out / "html"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (built.returncode, built.stderr) == (0, "")
    return out / "html"


@pytest.fixture(scope="module")
def pages(site):
    """Return each page's HTML."""
    return {
        path: path.read_text(encoding="utf-8")
        for path in site.rglob("*.html")
        if not {"_static", "deck.html"} & {*path.parts}
    }


@pytest.fixture
def visit(browser, site):
    """Open pages from the disk, as a phone without a network does; see that nothing was asked of others, or failed."""
    asked, failed = [], []
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    gone = "net::ERR_ABORTED"  # the page was left before its icon came
    page.on("requestfailed", lambda request: request.failure == gone or failed.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))

    def visit(name):
        page.goto(f"{site.as_uri()}/{name}")
        return page

    yield visit
    context.close()
    assert asked and [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    excerpts = re.compile(r"Failed to fetch|file:.*\.html")  # of what is found; from the disk a browser reads none
    assert [what for what in failed if not excerpts.fullmatch(what)] == []


def test_every_page_and_notebook_is_there(site):
    lessons = [path.relative_to(ROOT).with_suffix(".html") for path in (ROOT / "notebooks").glob("**/[0-9]*.ipynb")]
    results = [path.relative_to(ROOT).with_suffix(".html") for path in (ROOT / "results").glob("**/*.md")]
    docs = [path.relative_to(ROOT).with_suffix(".html") for path in (ROOT / "docs").glob("*.md")]
    assert len(lessons) >= 20 and len(results) > 10 and len(docs) > 3
    assert [str(path) for path in (*lessons, *results, *docs) if not (site / path).is_file()] == []


def test_no_link_and_no_anchor_is_broken(site, pages):
    anchors = {path: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for path, text in pages.items()}
    broken, seen = set(), 0
    for path, text in pages.items():
        for target in map(html.unescape, re.findall(r'\b(?:href|src)="([^"]+)"', text)):
            name, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            there = (path.parent / name.partition("?")[0]).resolve() if name else path
            seen += 1
            if not there.is_file() or anchor and there in anchors and anchor not in anchors[there]:
                broken.add((str(path.relative_to(site)), target))
    assert seen > 5_000 and broken == set()


def test_each_page_has_one_title_and_no_source_shows_through(pages):
    source = re.compile(r"<p>\|[ -|]|\[@\w+|<p>(?:#+ |:::|```)|&lt;!--")
    for path, text in pages.items():
        article = text.partition("<article")[2].partition("</article>")[0]
        prose = re.sub(r"(?s)<pre.+?</pre>|<code.+?</code>", "", article)
        assert source.findall(prose) == [], path
        assert article.count("<h1") == (path.name not in ("index.html", "search.html")), path


def test_a_link_to_a_page_opens_that_page(site, pages):
    seen = 0
    for path, text in pages.items():
        page = ROOT / path.relative_to(site).with_suffix(".md")
        prose = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8")) if page.is_file() else ""
        linked = {(path.parent / f"{name}.html").resolve() for name in re.findall(r"\]\(([^)\s:#]+)\.md[)#]", prose)}
        opened = {(path.parent / target.partition("#")[0]).resolve() for target in re.findall(r'href="([^":#]+)', text)}
        assert (linked & pages.keys()) - {path} <= opened, page
        seen += len(linked & pages.keys())
    assert seen > 100


def test_the_deck_is_there_and_is_found(site, pages):
    assert 'href="deck.html"' in pages[site / "teaching" / "README.html"]
    assert "<section" in (site / "teaching" / "deck.html").read_text(encoding="utf-8")


def test_no_page_loads_anything_from_elsewhere(pages):
    loads = r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//[^"]*"|<link\b[^>]*\bhref="(?:https?:)?//[^"]*"'
    found = {found for text in pages.values() for found in re.findall(loads, text)}
    assert found == set()


def test_figures_keep_their_texts_and_answers_are_folded(site, pages):
    for lesson in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        cells = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", []) if "metadata" in output]
        wanted = [output["metadata"]["image/png"]["alt"] for output in outputs if "image/png" in output["metadata"]]
        text = pages[site / "notebooks" / f"{lesson.stem}.html"]
        shown = list(map(html.unescape, re.findall(r'<img alt="([^"]*)"', text)))
        assert wanted and sorted(shown) == sorted(wanted)
        folded = [cell for cell in cells if "answer" in cell["metadata"]["tags"] and cell.get("outputs")]
        assert text.count(">Show the answer<") == len(folded)
        tags = [cell["metadata"]["tags"] for cell in cells]
        solved = pages[site / "notebooks" / "solutions" / f"{lesson.stem}.html"]
        assert solved.count(">Show the solution<") == sum("exercise" in some for some in tags)


def test_it_is_read_without_a_network_on_a_phone_a_tablet_and_a_laptop(visit):
    for name in LOOKED_AT:
        page = visit(f"{name}.html")
        page.wait_for_url(re.compile("README" if name == "index" else re.escape(name)))
        for width in (1366, 820, 390):
            page.set_viewport_size({"width": width, "height": 844})
            wide, window = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert wide <= window, f"{name} is wider than {width} pixels"


def test_the_search_finds_without_a_network(visit):
    page = visit("search.html?q=augmentation")
    page.wait_for_selector("#search-results li a")
    found = page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.href)")
    assert any("05_improve.html" in link for link in found)


def choose(page, figure, **values):
    """Set what can be chosen by hand in a figure, and return the row that it then draws."""
    return page.evaluate(
        """async ([figure, values]) => {
            const {view, row} = explored[figure];
            for (const [name, value] of Object.entries(values)) view.signal(name, value);
            await view.runAsync();
            return {...row(), said: document.querySelector(`#${figure} + p`).textContent};
        }""",
        [figure, values],
    )


def test_the_figures_to_explore_draw_what_evaluation_gives(visit, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "site")
    import figures

    page = visit("site/explore.html")
    page.wait_for_function("Object.keys(explored).length === 2")
    page.wait_for_selector("#threshold input[type=range]")
    for network, cut, ill in [("reference, as shipped", 0.5, 20), ("smote_224", 0.2, 5)]:
        table, weight = figures.answers(network), (1 - cut) / cut
        row = choose(page, "threshold", network=network, threshold=cut, prevalence=ill, cost=weight)
        rates = evaluation.metrics(table["label"], table["probability"], threshold=cut)
        worth = evaluation.predictive_values(rates["sensitivity"], rates["specificity"], ill / 100).loc[0]
        assert (row["ppv"], row["npv"]) == pytest.approx((worth["ppv"], worth["npv"]), abs=1e-4)
        curve = evaluation.net_benefit(table["label"], table["probability"], prevalence=[ill / 100])
        benefit = curve.loc[(curve["threshold"] - cut).abs().idxmin()]
        assert row["loss"] == pytest.approx(1000 * weight * (ill / 100 - benefit["model"]), abs=0.01)
        assert row["none"] == pytest.approx(1000 * weight * ill / 100, abs=0.01)
        assert f"{row['well']:.0f} who are well" in row["said"] and row["best"] <= row["loss"]
    for measure, name in figures.MEASURES.items():
        row = choose(page, "interval", network="plain_224", measure=measure, n=624)
        value, low, high = evaluation.bootstrap(figures.answers("plain_224"), draws=figures.DRAWS).loc[name]
        assert (row["value"], row["low"], row["high"]) == pytest.approx((value, low, high), abs=1e-5)
        fewer = choose(page, "interval", measure=measure, n=50)
        assert fewer["width"] > row["width"] == pytest.approx(100 * (high - low), abs=1e-3)
        assert f"With 50 images: {measure}" in fewer["said"]
