"""Declarations of settings. Each setting is declared once, in the annotation of its argument or dataclass field.

    clip_norm: Annotated[float | None, Setting("Upper bound of the gradient's norm.", ABOVE_ZERO)] = None

This line defines the name, type, default, allowed numbers and help text of the setting. The check in the constructor,
the command-line option, the JSON in model files, printed code, the docstring and the table in the documentation are
derived from it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import numpy as np

from chainrule.errors import InvalidInputError, shown
from chainrule.ranges import ANY_NUMBER, Range, is_finite

__all__ = ["ABOVE_ZERO", "BELOW_ONE", "FROM_ONE", "FROM_ZERO", "SHARE", "CheckedSettings", "Declared", "Setting",
           "added_later", "check_settings", "declared_settings", "documented", "members", "option_fields",
           "setting_fields", "settings_table"]  # fmt: skip

Class = TypeVar("Class", bound=type)

ABOVE_ZERO = Range(0, math.inf)
BELOW_ONE = Range(0, 1, includes_low=True)
FROM_ZERO = Range(0, math.inf, includes_low=True)
FROM_ONE = Range(1, math.inf, includes_low=True)
SHARE = Range(0, 1, includes_low=True, includes_high=True)


@dataclass(frozen=True)
class Setting:
    """The part of a declaration that the name, the type and the default of the argument do not contain.

    Parameters
    ----------
    help
        One line, for the command line and the documentation.
    allowed
        The allowed numbers; None if the object that is created from the setting checks it.
    group
        The heading of the option in the help of ``chainrule train``; if empty, the command has no such option.
    flags
        The names of the option, if they differ from ``--name``.
    attribute
        The name of the attribute that stores the setting, if it differs from the name of the setting.
    in_files
        Whether model files store the setting under this name.
    for_classes
        Whether the setting is for classification only and must be left out for a regression.
    since
        The version that introduced the setting; files of earlier versions do not contain it, and its default is used.
    """

    help: str = ""
    allowed: Range | None = None
    group: str = ""
    flags: tuple[str, ...] = ()
    attribute: str = ""
    in_files: bool = True
    for_classes: bool = False
    since: str = "0.1"


@dataclass(frozen=True)
class Declared:
    """A setting with the name, the type and the default of its argument."""

    name: str
    hint: Any
    default: Any
    setting: Setting

    @property
    def plain_hint(self) -> Any:
        """The part of the type that JSON and a command line can represent; ``Literal`` strings become ``str``.

        >>> Declared("penalty", Literal["l1"] | Range | None, None, Setting()).plain_hint
        str | None
        """
        kinds = [str if get_origin(kind) is Literal else kind for kind in members(self.hint)]
        plain = [kind for kind in kinds if kind in (int, float, str, bool, type(None))]
        return functools.reduce(lambda one, other: one | other, plain)

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of the command-line option."""
        return self.setting.flags or (f"--{self.name.replace('_', '-')}",)

    @property
    def allowed(self) -> str:
        """The allowed values in words; "" if the object that is created from the setting checks it."""
        kinds = members(self.hint)
        if self.setting.allowed is None:
            if self._is_choice:
                return " and ".join(", ".join(map(repr, words)) for words in (self._words[:-1], self._words[-1:]))
            named = {"True and False": self._is_yes_or_no, "functions": self._is_function, "texts": self._is_text}
            found = next((words for words, is_so in named.items() if is_so), "")
            return f"{found}, or None" if found and type(None) in kinds else found
        is_open = self.setting.allowed.high == math.inf and not self.setting.allowed.includes_high
        kind = "whole " if int in kinds else "finite " if is_open else ""
        others = [*map(repr, self._words), *(["None"] if type(None) in kinds else [])]
        numbers = "numbers" if self.setting.allowed == ANY_NUMBER else str(self.setting.allowed)
        return ", or ".join([f"{kind}{numbers}", *others])

    @property
    def _words(self) -> tuple[str, ...]:
        """The strings that are allowed besides numbers."""
        return tuple(word for kind in members(self.hint) if get_origin(kind) is Literal for word in get_args(kind))

    @property
    def _is_choice(self) -> bool:
        return len(self._words) > 1 and all(get_origin(kind) is Literal for kind in members(self.hint))

    @property
    def _is_yes_or_no(self) -> bool:
        return bool in members(self.hint) and {*members(self.hint)} <= {bool, type(None)}

    @property
    def _is_text(self) -> bool:
        return str in members(self.hint) and {*members(self.hint)} <= {str, Path, type(None)}

    @property
    def _is_function(self) -> bool:
        return get_origin(self.hint) is Callable

    def allows(self, value: Any) -> bool:
        """Return whether the declaration allows ``value``."""
        allowed, kinds = self.setting.allowed, members(self.hint)
        if not self.allowed or (value is None and type(None) in kinds):
            return True
        if self._is_function:
            return callable(value)
        if self._is_text:
            return isinstance(value, str | Path)
        if self._is_choice:
            return isinstance(value, str) and value in self._words
        if allowed is None:
            return isinstance(value, bool | int | np.bool_) and value in (0, 1)
        if isinstance(value, str):
            return value in self._words
        is_number = is_finite(value) or (isinstance(value, float) and value == math.inf)
        return is_number and allowed.includes(value) and not (int in kinds and value % 1)

    def converted(self, value: Any) -> Any:
        """Return an allowed value, with a number or Boolean as an ``int``, ``float`` or ``bool`` of Python."""
        if value is None or isinstance(value, str):
            return value
        if self.setting.allowed is None:
            return bool(value) if self._is_yes_or_no else value
        return int(value) if int in members(self.hint) else value if type(value) in (int, float) else float(value)


def members(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union type, or a tuple with the type itself if it is not a union."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        return tuple(inner for member in get_args(hint) for inner in members(member))
    return (hint,)


@functools.cache
def declared_settings(owner: type) -> dict[str, Declared]:
    """Return the settings that the constructor of a class declares, by name.

    A field of a dataclass without a declaration has that of the field of the same name in a base class.
    """
    if dataclasses.is_dataclass(owner):
        sources: list[Any] = list(reversed(owner.__mro__))
        defaults = {field.name: field.default for field in dataclasses.fields(owner) if field.init}
    else:
        constructor: Any = owner.__init__  # type: ignore[misc]  # the class is the one that declares the settings
        sources = [constructor]
        defaults = {name: one.default for name, one in inspect.signature(constructor).parameters.items()}
    hints: dict[str, Any] = {}
    settings: dict[str, Setting] = {}
    for source in sources:
        try:
            hints |= typing.get_type_hints(source, include_extras=True)
        except NameError:
            if source.__module__.partition(".")[0] == __package__:
                raise
            # The class of a user may have annotations with names that are local to a function.
        settings |= {name: setting for name, hint in hints.items() if (setting := _setting_of(hint)) is not None}
    return {
        name: Declared(name, get_args(hint)[0] if _setting_of(hint) else hint, default, settings[name])
        for name, default in defaults.items()
        if name in settings
        for hint in [hints[name]]
    }


def _setting_of(hint: Any) -> Setting | None:
    """Return the declaration in an annotation, or None."""
    return next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Setting)), None)


def check_settings(owner: type, values: Mapping[str, Any], what: str = "{}") -> None:
    """Raise InvalidInputError if the declaration of a setting does not allow its value in ``values``.

    ``what`` is the setting in the message, with ``{}`` in place of its name.
    """
    for name, one in declared_settings(owner).items():
        if name in values and not one.allows(values[name]):
            raise InvalidInputError(f"{what.format(name)} is {shown(values[name])}; allowed are {one.allowed}.")


class CheckedSettings:
    """Base class of dataclasses whose constructor checks the settings that their fields declare."""

    def __post_init__(self) -> None:
        kind: type = type(self)
        declared = {name: one for name, one in declared_settings(kind).items() if hasattr(self, name)}
        check_settings(kind, {name: getattr(self, name) for name in declared}, f"The {{}} of {kind.__name__}")
        for name, one in declared.items():  # NumPy's scalars would convert the results of formulas to their type
            object.__setattr__(self, name, one.converted(getattr(self, name)))  # the class may be frozen


def added_later(owner: type) -> set[str]:
    """Return the names of the settings that files of version 0.1 do not contain; their defaults are used."""
    return {name for name, one in declared_settings(owner).items() if one.setting.since != "0.1"}


def option_fields(owner: type) -> list[tuple[str, Any, Any]]:
    """Return the settings that are options of a training run, as fields for :func:`dataclasses.make_dataclass`."""
    options = (one for one in declared_settings(owner).values() if one.setting.group)
    return [
        (one.name, Annotated[one.plain_hint, one.setting], dataclasses.field(default=one.default)) for one in options
    ]


def setting_fields(owner: type, *names: str) -> list[tuple[str, Any, Any]]:
    """Return declared settings of a class, as fields for :func:`dataclasses.make_dataclass`, with the same declaration.

    A class that hands these settings on to ``owner`` so has the same defaults, bounds and help texts.
    """
    declared = declared_settings(owner)
    return [
        (
            name,
            Annotated[declared[name].hint, declared[name].setting],
            dataclasses.field(default=declared[name].default),
        )
        for name in names
    ]


def documented(owner: Class) -> Class:
    """Replace ``{settings}`` in the docstring of a class by its declared settings (class decorator).

    The declarations are removed from the annotations of the constructor, so that its signature shows plain types. The
    class gets annotations of the attributes in which it stores the settings.
    """
    declared, function = declared_settings(owner), owner.__init__  # type: ignore[misc]
    hints = typing.get_type_hints(owner if dataclasses.is_dataclass(owner) else function)
    parameters = inspect.signature(function).parameters
    function.__annotations__ = {name: hints[name] for name in parameters if name in hints} | {"return": None}
    stored = {one.setting.attribute or name: one.hint for name, one in declared.items() if one.setting.in_files}
    owner.__annotations__ = {**stored, **inspect.get_annotations(owner)}
    if owner.__doc__:  # python -OO removes docstrings
        lines = (f"{name}\n        {one.setting.help}" for name, one in declared.items())
        owner.__doc__ = owner.__doc__.replace("{settings}", "\n    ".join(lines))
    return owner


def settings_table(owner: type) -> str:
    """Return the declared settings as a table in Markdown."""
    rows = ["| setting | default | allowed numbers | meaning |", "|---|---|---|---|"]
    for name, one in declared_settings(owner).items():
        meaning = one.setting.help.replace("|", "\\|")
        rows.append(f"| `{name}` | `{one.default!r}` | {one.allowed} | {meaning} |")
    return "\n".join(rows) + "\n"
