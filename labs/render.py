"""Execute the labs, and write notebooks, HTML pages and the pages of the documentation: ``make labs``.

``build/labs`` gets the executed notebooks and HTML pages. ``docs/labs`` gets one Markdown page per lab with its
pictures; these files are committed, because the documentation is built without running the labs.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter, MarkdownExporter
from nbconvert.writers import FilesWriter

from chainrule.labs import as_notebook, is_quick, lab_file, lab_names

ROOT = Path(__file__).parents[1]
BUILD, PAGES = ROOT / "build" / "labs", ROOT / "docs" / "labs"
SECONDS = 4 * 3600  # of one cell


def drop_names_of_plots(notebook: nbformat.NotebookNode) -> None:
    """Remove the texts, such as ``<Axes: ...>``, that stand in front of the pictures of plots."""
    names = ("<Axes", "<matplotlib")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = [one for one in cell.outputs if not one.get("data", {}).get("text/plain", "").startswith(names)]
            cell.outputs = outputs


def render(name: str) -> None:
    """Execute one lab and write its files. A quick run (``CHAINRULE_LABS=quick``) writes no page of the documentation."""
    started = time.perf_counter()
    notebook = nbformat.from_dict(as_notebook(lab_file(name).read_text(encoding="utf-8")))
    BUILD.mkdir(parents=True, exist_ok=True)
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(BUILD)}}).execute()
    drop_names_of_plots(notebook)
    nbformat.write(notebook, BUILD / f"{name}.ipynb")
    (BUILD / f"{name}.html").write_text(HTMLExporter().from_notebook_node(notebook)[0], encoding="utf-8")
    if not is_quick():
        files = f"{name}_files"
        shutil.rmtree(PAGES / files, ignore_errors=True)
        text, resources = MarkdownExporter().from_notebook_node(
            notebook, resources={"unique_key": name, "output_files_dir": files}
        )
        text = text.replace("![png]", "![Result of the code above]")
        FilesWriter(build_directory=str(PAGES)).write(text, resources, notebook_name=name)
    print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    """Render the labs that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="labs; by default all")
    arguments = parser.parse_args()
    for name in arguments.names or lab_names():
        render(lab_file(name).stem)


if __name__ == "__main__":
    sys.exit(main())
