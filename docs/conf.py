"""How Sphinx builds this documentation: ``make docs``."""

from __future__ import annotations

import ast
import math
import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.errors import ExtensionError
from sphinx.util.inspect import TypeAliasForwardRef, signature, stringify_signature

project = "chainrule"
author = "The chainrule developers"
project_copyright = "The chainrule developers"
release = version = version_of("chainrule")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
myst_dmath_allow_digits = False  # "$5 and $6" are amounts
nitpicky = False

autodoc_member_order = "bysource"
autodoc_type_aliases = {name: name for name in ("Array", "DTypeName", "Inputs", "IntArray", "Seed", "Shape", "Task")}
TypeAliasForwardRef.__repr__ = lambda alias: alias.name  # type: ignore[method-assign]  # in unions, Sphinx shows this
autodoc_typehints = "signature"
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
napoleon_use_ivar = True
napoleon_use_param = False  # names that share a text, as "l1, l2", stay together
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = "chainrule"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
}
html_sidebars = {"index": [], "from-the-course": [], "course-coverage": []}

# What makes a browser ask for something: the source of a script, a picture, a frame; a linked style or font.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|audio|video|source|embed|link)\b[^>]*?\b(?:src|href)\s*=\s*["'](?:https?:)?//[^"']+"""
    r"""|(?:url\(|@import)\s*["']?(?:https?:)?//[^"')]+""",
    re.IGNORECASE,
)
_ACCENT = re.compile(r"(\\(?:hat|bar|tilde|vec)\s*(?:\{[^}]*\}|\w))(?=[_^])")  # docutils sets an index below an accent
_FUNCTION = re.compile(r"\\(log|ln|exp|sin|cos|tanh)\s+(?=\w|\\(?!left))")  # "log p" needs a space in browsers
_SIZE = re.compile(r"\\[bB]igg?(?![a-zA-Z])")  # docutils knows only \bigl and \bigr
_BULLET = re.compile(r"\s*\* ")
_LITERAL = re.compile(r"(``.+?``|`[^`]+`)")


def refuse_outside_requests(app: Any, problem: Exception | None) -> None:
    """Stop the build if a page would ask another host for anything: the pages must work without a network."""
    if problem is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*")):
        if path.suffix in (".html", ".css"):
            found = _FETCHED.search(path.read_text(encoding="utf-8"))
            if found:
                raise RuntimeError(f"{path} would ask another host: {found.group()}")


def add_formula(translator: Any, node: nodes.math | nodes.math_block) -> None:
    """Write a TeX formula as MathML, which browsers draw without a script."""
    is_block = isinstance(node, nodes.math_block)
    formula = _FUNCTION.sub(r"\\\1\\, ", _SIZE.sub("", _ACCENT.sub(r"\1{}", node.astext())))
    formula = formula.replace(r"\dots", r"\ldots")
    try:
        mathml = latex2mathml.tex2mathml(formula, as_block=is_block)
    except latex2mathml.MathError as error:
        raise ExtensionError(f"{node.source}:{node.line}: the formula {node.astext()} is not valid: {error}") from None
    if is_block:
        mathml = translator.starttag(node, "div", CLASS="formula") + mathml + "</div>\n"
    translator.body.append(mathml)
    raise nodes.SkipNode


def escape_mathematics(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep |x| and a * b in docstrings from being read as markup, except between backquotes and in formulas."""
    formula_indent, in_example = math.inf, False
    for number, line in enumerate(lines):
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if text and indent <= formula_indent:
            formula_indent = indent if text.startswith(".. math::") else math.inf
        in_example = bool(text) and (in_example or text.startswith(">>>"))
        if in_example or formula_indent < math.inf:
            continue
        bullet = _BULLET.match(line)
        start = bullet.end() if bullet else 0
        pieces = _LITERAL.split(line[start:])
        pieces[::2] = [piece.replace("|", r"\|").replace("*", r"\*") for piece in pieces[::2]]
        lines[number] = line[:start] + "".join(pieces)


def list_members(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """List the public names of a module below its docstring, each with the first line of its own."""
    if what != "module":
        return
    lines.append("")
    for member in getattr(obj, "__all__", ()):
        value = getattr(obj, member)
        if isinstance(value, type) or callable(value):
            summary = [(value.__doc__ or "").split("\n\n")[0].replace("\n", " ")]
            escape_mathematics(app, what, name, obj, options, summary)
            home = f"{name}.{obj._MODULE_OF[member]}" if name == "chainrule" else name
            lines.append(f"* :obj:`~{home}.{member}`: {summary[0]}")
    lines.append("")


def without_settings(annotation: Any) -> Any:
    """Return a type without what ``Annotated`` adds to it: the help and the allowed values of a setting."""
    if isinstance(annotation, str) and annotation.startswith("Annotated["):
        return ast.unparse(ast.parse(annotation, mode="eval").body.slice.elts[0])  # type: ignore[attr-defined]
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def show_own_arguments(
    app: Any,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    arguments: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Show the arguments of a class's ``__init__`` where a base class has a ``__new__``, with plain types."""
    if what == "class" and arguments and ("*args" in arguments or "Annotated" in arguments):
        own = signature(obj.__init__, bound_method=True, type_aliases=app.config.autodoc_type_aliases)
        parameters = [one.replace(annotation=without_settings(one.annotation)) for one in own.parameters.values()]
        own = own.replace(parameters=parameters, return_annotation=own.empty)
        arguments = stringify_signature(own, unqualified_typehints=True)
        arguments = "" if "*args" in arguments else arguments
    return arguments, returned


def setup(app: Any) -> None:
    """Connect the functions above; docstrings are escaped before Napoleon makes markup of its own."""
    app.add_html_math_renderer("mathml", (add_formula, None), (add_formula, None))
    app.connect("build-finished", refuse_outside_requests)
    app.connect("autodoc-process-docstring", escape_mathematics, priority=400)
    app.connect("autodoc-process-docstring", list_members)
    app.connect("autodoc-process-signature", show_own_arguments)
