"""A model as one C99 file, without dependencies but the C library and its mathematics."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chainrule.data.columns import ColumnPlan
from chainrule.export.c_columns import CDefinitions, months
from chainrule.export.c_main import csv_program
from chainrule.export.c_text import array_of_numbers, array_of_texts, comment, identifiers, number, stem_identifier
from chainrule.export.pieces import pieces_needed
from chainrule.export.program import ModelProgram
from chainrule.export.steps import Steps
from chainrule.files.atomic import write_atomically
from chainrule.formulas.translate import C
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.rounding import n_digits

__all__ = ["c_source", "write_c"]

_HEADING = """\
/*
 * A network of chainrule that predicts {what}. It needs the C library and libm, and allocates no memory.
 *
 *     {row};
 *     double outputs[MODEL_OUTPUTS];
 *     int bad = model_predict({argument}, outputs);
 *
 * `bad` is 0, or says which {column}, counted from 1, the model cannot use. `outputs` are {outputs}.
 *
 * Compile it:            cc -std=c99 -O2 -c FILE.c      (link with -lm)
 * Use it elsewhere:      #define CHAINRULE_DECLARATIONS, then #include this file
 * Read CSV, print CSV:   cc -std=c99 -O2 -DCHAINRULE_MAIN FILE.c -lm
 *
 * The numbers on the way lie in static memory. For several threads define CHAINRULE_BUFFER: as nothing, and they lie on
 * the stack, or as static with the compiler's word for memory of a thread.
 */"""

_INTERFACE = """\
#ifndef MODEL_OUTPUTS
#define MODEL_INPUTS {n_inputs}
#define MODEL_OUTPUTS {n_outputs}
#ifdef __cplusplus
extern "C" {{
#endif
{declarations}
#ifdef __cplusplus
}}
#endif
#endif

#ifndef CHAINRULE_DECLARATIONS
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#ifndef CHAINRULE_BUFFER
#define CHAINRULE_BUFFER static
#endif
#define MODEL_NUMBER {kind}
#define MODEL_LARGEST {largest}
#define MODEL_DIGITS {digits}"""

_DECLARE_CLASSES = """\
#define MODEL_CLASSES {n_classes}
extern const char *const model_classes[MODEL_CLASSES];     /* the labels that are predicted */
extern const char *const model_class_names[MODEL_CLASSES]; /* the same in words */
int model_class(const double *outputs);                    /* the place of the most probable one */"""

_PREDICT = """\
int model_predict({parameter}, double *outputs)
{{
    CHAINRULE_BUFFER double {buffers};
    size_t i;
    int bad = encode(row, v0);
    if (bad)
        return bad;
{steps}
    for (i = 0; i < MODEL_OUTPUTS; i++)
        outputs[i] = {last}[i];
    return 0;
}}"""


def write_c(model: Model | NeuralNetwork, path: Path) -> None:
    """Write the source to a file, whole or not at all; the names in it begin with the name of the file."""
    write_atomically(path, c_source(ModelProgram.of(model), path.stem))


def c_source(program: ModelProgram, name: str) -> str:
    """Return the text of the file, in ASCII.

    It has ``<name>_predict`` and, for classes, ``<name>_class``, ``<name>_classes`` and ``<name>_class_names``.
    Weights keep their bits; the arithmetic is double.
    """
    prefix = stem_identifier(name)

    def own(text: str) -> str:
        return re.sub("model_|MODEL_", lambda found: f"{prefix if found[0].islower() else prefix.upper()}_", text)

    fields = identifiers(plan.name for plan in program.columns)
    encoding, pieces, arrays, before = _encoding(program, fields, own)
    steps = Steps(program, C, array_of_numbers, number)
    if program.classes:
        arrays += [
            array_of_texts(f"{prefix}_classes", [str(label) for label in program.classes], visible=True),
            array_of_texts(f"{prefix}_class_names", program.label_names, visible=True),
        ]
        pieces.append("class_of_one" if program.n_outputs == 1 else "class_of_many")
    pieces += steps.pieces
    parameter = "const model_row *row" if program.columns else "const double *row"
    predict = own(_PREDICT).format(
        parameter=own(parameter),
        buffers=", ".join(f"v{place}[{length}]" for place, length in enumerate(steps.buffers)),
        steps="\n".join(f"    {line}" for line in steps.lines),
        last=steps.last,
    )
    main = csv_program(program, fields, pieces, own)
    parts = [_heading(program, own), _interface(program, fields, own), own(before),
             own(pieces_needed("pieces.c", pieces)), *steps.functions, *arrays, *steps.arrays, encoding, predict,
             main]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n#endif\n"


def _heading(program: ModelProgram, own: Callable[[str], str]) -> str:
    target = program.target_name and f" of {comment(program.target_name)}"
    if program.columns:
        words = {"row": own("model_row row"), "argument": "&row", "column": "column"}
    else:
        words = {"row": own("double row[MODEL_INPUTS]"), "argument": "row", "column": "number"}
    if program.classes:
        meaning = "the probability of the second class" if program.n_outputs == 1 else "the classes' probabilities"
    else:
        meaning = "the predicted numbers"
    return own(_HEADING).format(what=f"{'classes' if program.classes else 'numbers'}{target}", outputs=meaning, **words)


def _interface(program: ModelProgram, fields: list[str], own: Callable[[str], str]) -> str:
    declarations = []
    if program.columns:
        members = [_member(plan, field) for plan, field in zip(program.columns, fields, strict=True)]
        struct = own("typedef struct model_row {{\n{members}\n}} model_row;")
        declarations.append(struct.format(members="\n".join(members)))
    parameter = "const model_row *row" if program.columns else "const double *row"
    declarations.append(own(f"int model_predict({parameter}, double *outputs);"))
    if program.classes:
        declarations.append(own(_DECLARE_CLASSES).format(n_classes=len(program.classes)))
    single = program.dtype == np.float32
    return own(_INTERFACE).format(
        n_inputs=len(program.columns) or program.n_inputs,
        n_outputs=program.n_outputs,
        declarations="\n".join(declarations),
        kind="float" if single else "double",
        largest="FLT_MAX" if single else "DBL_MAX",
        digits=n_digits(program.dtype),
    )


def _member(plan: ColumnPlan, field: str) -> str:
    name = comment(plan.name)
    match plan.kind:
        case "number":
            return f"    double {field}; /* {name}: a number, NAN where it is missing */"
        case "date":
            kind = "time of day such as 18:30" if plan.is_time_of_day else "date such as 2024-12-31"
            return f"    const char *{field}; /* {name}: a {kind}, NULL where it is missing */"
    return f"    const char *{field}; /* {name}: a category, NULL where it is missing */"


def _encoding(
    program: ModelProgram, fields: list[str], own: Callable[[str], str]
) -> tuple[str, list[str], list[str], str]:
    """Return the function that turns a row into numbers, the pieces and arrays that it needs, and what pieces need."""
    if not program.columns:
        return "", ["encode_numbers"], [], ""
    lines, pieces, at = [], ["put_number"] if any(plan.numbers for plan in program.columns) else [], 0
    definitions = CDefinitions()
    for place, (plan, field) in enumerate(zip(program.columns, fields, strict=True), 1):
        refuse = f"        return {place};"
        if plan.kind == "category":
            pieces += ["category", "one_hot"]
            _, _, first, end = plan.special_codes
            found = f"category(row->{field}, &{definitions.category_type(plan)})"
            lines.append(f"    one_hot({found} - {first}, {end - first}, x + {at});")
        else:
            if plan.kind == "date":
                pieces.append("read_date")
                lines += [f"    if (read_date(row->{field}, &{definitions.date_type(plan)}, date))", refuse]
            value = f"row->{field}"
            if plan.kind == "number" and plan.missing_numbers.size:
                pieces.append("without")
                missing = definitions.doubles_named(plan.missing_numbers)
                value = f"without({value}, {missing}, {plan.missing_numbers.size})"
            for offset, (part, learnt) in enumerate(zip(plan.parts, plan.numbers, strict=True)):
                source = f"date[{part}]" if plan.kind == "date" else value
                numbers = ", ".join(number(setting) for setting in (learnt.fill, learnt.center, learnt.scale))
                lines += [f"    if (put_number({source}, {numbers}, x + {at + offset}))", refuse]
            if plan.missing_indicator:
                source = "date[0]" if plan.kind == "date" else value
                lines.append(f"    x[{at + len(plan.numbers)}] = isnan({source}) ? 1 : 0;")
        at += len(plan.output_names)
    has_dates = "read_date" in pieces
    dates = ["    double date[5];"] if has_dates else []
    head = ["/* The numbers that the network takes; 0, or the column that it cannot use. */",
            own("static int encode(const model_row *row, double *x)"), "{"]  # fmt: skip
    encoding = "\n".join([*head, *dates, *lines, "    return 0;", "}"])
    return encoding, pieces, definitions.texts, months() if has_dates else ""
