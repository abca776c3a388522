"""The part of an exported C file that makes it a program: it reads CSV and prints predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chainrule.export.c_columns import CDefinitions, decomposed, number_type
from chainrule.export.c_text import array_of_texts
from chainrule.export.pieces import pieces_needed
from chainrule.export.program import ModelProgram

__all__ = ["csv_program"]

_PROGRAM = """\
#ifdef CHAINRULE_MAIN
#include <stdio.h>

{names}

static int predict_cells(char **cells, const int *places, double *outputs)
{{
{reading}
}}

{pieces}
#endif"""

_READ_NUMBERS = """\
    static double row[MODEL_INPUTS];
    int i;
    for (i = 0; i < MODEL_INPUTS; i++)
        if (read_number(cells[places[i]], &bare_number, &row[i]))
            return i + 1;
    return model_predict(row, outputs);"""


_KINDS = {"number": "numbers", "date": "dates", "category": "categories"}


def csv_program(program: ModelProgram, fields: Iterable[str], written: Iterable[str], own: Callable[[str], str]) -> str:
    """Return the part between ``#ifdef CHAINRULE_MAIN`` and its ``#endif``.

    ``fields`` are the names of the columns in the struct of a row, ``written`` the pieces that stand before this part,
    and ``own`` puts the model's name into what is not yet named.
    """
    definitions = CDefinitions("cell_")  # apart from those in front of this part
    if program.columns:
        columns = [plan.name for plan in program.columns]
        names = [array_of_texts("column_names", columns)]
        names.append(array_of_texts("decomposed_names", [decomposed(name) for name in columns]))
        names.append(array_of_texts("column_kinds", [_KINDS[plan.kind] for plan in program.columns]))
        types = [definitions.number_type(plan) for plan in program.columns if plan.kind == "number"]
        reading = _read_columns(program, fields, types, own)
    else:
        names = [array_of_texts("target_name", [program.target_name or "y"])]
        bare = number_type(definitions, None)
        definitions.texts.append(f"static const number_type bare_number = {{{bare}}};")
        reading = own(_READ_NUMBERS)
    finding = "find_columns" if program.columns else "take_columns"
    putting = "put_classes" if program.classes else "put_numbers"
    has_numbers = not program.columns or any(plan.kind == "number" for plan in program.columns)
    wanted = [*(["read_number"] if has_numbers else []), "read_record", finding, putting]
    first = own(pieces_needed("pieces.c", wanted, beside=written))
    last = own(pieces_needed("pieces.c", ["main"]))
    return _PROGRAM.format(names="\n\n".join([*names, first, *definitions.texts]), reading=reading, pieces=last)


def _read_columns(program: ModelProgram, fields: Iterable[str], types: Iterable[str], own: Callable[[str], str]) -> str:
    lines, each_type = [own("    static model_row row;")], iter(types)
    for place, (plan, field) in enumerate(zip(program.columns, fields, strict=True)):
        if plan.kind == "number":
            cell = f"cells[places[{place}]], &{next(each_type)}, &row.{field}"
            lines += [f"    if (read_number({cell}))", f"        return {place + 1};"]
        else:
            lines.append(f"    row.{field} = cells[places[{place}]];")
    return "\n".join([*lines, own("    return model_predict(&row, outputs);")])
