"""Settings of the site: the project's own pages and executed notebooks, as they lie. ``make site`` builds it."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "site"), str(ROOT / "notebooks" / "source")]

import address  # noqa: E402

project = "Reading pneumonia from chest X-rays"
author = "the authors of this course"
extensions = ["myst_nb", "sphinx.ext.autosummary", "numpydoc", "hooks"]

#: The contents: a title, and the pages below it in their order. A pattern shows what is there.
contents = {
    "The course": ["notebooks/[0-9][0-9]_*.ipynb", "notebooks/glossary.md", "site/explore.md", "notebooks/README.md"],
    "Use it": ["docs/install.md", "docs/browser.md", "docs/use.md", "docs/page.md", "notebooks/before_you_publish.md"],
    "Results": ["results/claims.md", "results/systems/*.md", "results/folds.md", "results/how-far.md",
                "results/all-runs.md", "results/limits.md", "results/models/model-card.md"],
    "For teachers": ["teaching/README.md", "teaching/plans.md", "teaching/guide/*.md", "docs/workshop.md",
                     "teaching/setup/letter.md", "teaching/setup/windows.md", "teaching/setup/macos.md",
                     "teaching/setup/linux.md", "teaching/setup/browser.md", "teaching/tests/before.md",
                     "teaching/tests/after.md", "teaching/tests/key.md", "teaching/*.md"],
    "For researchers": ["docs/researchers.md", "results/README.md", "results/replication.md",
                        "results/submissions/README.md", "data/README.md",
                        "results/protocol-reference-[0-9].md", "results/checklists/*.md", "workflow/README.md",
                        "workflow/cell.ipynb",
                        "cxr_utils/recipes/README.md", "cxr_utils/sources/README.md", "benchmarks/results.md"],
    "Solutions": ["notebooks/solutions/[0-9][0-9]_*.ipynb"],
    "The package": ["site/api.rst", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"],
}  # fmt: skip
root_doc = "README"
include_patterns = [root_doc + ".md", "site/api/*.rst", *(page for pages in contents.values() for page in pages)]
exclude_patterns = [".*", "build", "lab", "runs", "wheels", "tests", "results/runs", "data/*/**"]

# As they lie: nothing is executed, and each heading that GitHub can lead to is an anchor.
nb_execution_mode = "off"
nb_custom_formats = {".ipynb": "hooks.read"}
nb_merge_streams = True
nb_render_markdown_format = "myst"  # what a cell prints may hold a table, as pages do
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
numpydoc_show_class_members = False
templates_path = [str(ROOT / "site" / "templates")]  # autosummary seeks it from the pages, Sphinx from here

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
html_favicon = "static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_scaled_image_link = True  # a figure opens in full: on a phone its letters are small
html_extra_path = ["extra"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "navbar_persistent": [],  # the search is a page of its own, and works without a server
    "show_toc_level": 2,
    "collapse_navbar": True,  # each page with all contents unfolded takes as long as all else
    "use_download_button": False,
    "use_fullscreen_button": False,
}
# The address of the repository stands in pyproject.toml alone; while there is none, none is shown.
if repository := address.repository(ROOT):
    html_theme_options |= {"repository_url": repository, "repository_branch": address.BRANCH,
                           "use_repository_button": True, "use_edit_page_button": True}  # fmt: skip
