"""Names that users write: of classes, of their settings, of arguments and of attributes.

A class, an instance and a string such as ``"adam"`` or ``"adam:beta1=0.8"`` mean the same piece. Every family of pieces
(activations, losses, optimizers, ...) has one :class:`Registry`, which resolves the names. Files use the same
registries, so that a file can only name classes that are listed here or passed in by its reader.

The names that other libraries use are declared at each class or function with :func:`also_called`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Never, Self, TypeVar, cast

from chainrule.errors import InvalidInputError, listed, nearest_name, shown

__all__ = [
    "FixedAttributes",
    "OtherNames",
    "Registry",
    "also_called",
    "argument_hint",
    "check_arguments",
    "checked",
    "find_name",
    "other_names",
    "settings_of",
]

Piece = TypeVar("Piece")
Named = TypeVar("Named", bound=Callable[..., Any])

_ATTRIBUTE = "_names_elsewhere"
LONGEST_TEXT = 500  # of a name with its settings
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class OtherNames:
    """The names that other libraries use for a class or a function, and for its arguments.

    Attributes
    ----------
    aliases
        Names of exactly the same function, with the same defaults.
    unlike
        Names of similar functions. Each has a sentence that says what to use here and how it differs.
    key
        The name in the registry, for a class whose name does not consist of words, such as ``LeakyReLU``.
    arguments
        Names of arguments. Each has the name of the argument here, or a sentence that says what to do.
    """

    aliases: tuple[str, ...] = ()
    unlike: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)


def also_called(
    *aliases: str,
    unlike: Mapping[str, str] | None = None,
    key: str | None = None,
    arguments: Mapping[str, str] | None = None,
) -> Callable[[Named], Named]:
    """Declare the :class:`OtherNames` of a class or a function (decorator).

    Case, ``-``, ``_`` and spaces inside a name do not matter. An alias must mean exactly the same function as the class
    with its default settings; every other name belongs to ``unlike``. Subclasses do not inherit the names.
    """

    def declare(piece: Named) -> Named:
        setattr(piece, _ATTRIBUTE, OtherNames(aliases, unlike or {}, key, arguments or {}))
        return piece

    return declare


def other_names(piece: Any) -> OtherNames:
    """Return the names that are declared at a class or a function."""
    declared: OtherNames = vars(piece).get(_ATTRIBUTE, OtherNames())
    return declared


def find_name(kind: str, name: str, pieces: Mapping[str, Any]) -> str:
    """Return the key of the piece called ``name``: by its key, by the name of the class or function, or by an alias.

    Case does not matter, nor do ``-``, ``_`` and spaces inside the name. Raises InvalidInputError for any other name,
    with the sentence that is declared for it, or with the known name of which it may be a misspelling.
    """
    wanted = _spelling(name)
    known = {key: (key, *other_names(piece).aliases) for key, piece in pieces.items()}
    for key, names in known.items():
        if wanted in map(_spelling, (pieces[key].__name__, *names)):
            return key
    for piece in pieces.values():
        for foreign, sentence in other_names(piece).unlike.items():
            if wanted == _spelling(foreign):
                raise InvalidInputError(f"There is no {kind} called '{name}' here: {sentence}")
    # Other things may have similar names (xavier_uniform and he_uniform); a misspelling differs by about one letter.
    hint = nearest_name(name, itertools.chain(*known.values()), max(0.8, 1 - 1.2 / max(len(name), 1)))
    raise InvalidInputError(f"There is no {kind} called '{name}'.{hint} Known are: {', '.join(sorted(pieces))}.")


def _key(cls: type[Any]) -> str:
    words = re.sub("(Activation|Layer)$", "", cls.__name__)
    return re.sub("(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", words).lower()


def _spelling(name: str) -> str:
    """Return what two spellings of one name share; the underscore at the end of ``normal_`` counts."""
    return re.sub(r"[-_ ]+(?=.)", "", name.strip().lower())


# The names of arguments in other libraries, each with the name here, or with a sentence that says what to do.
_ARGUMENTS_ELSEWHERE = {
    "lr": "learning_rate", "learning_rate_init": "learning_rate", "n_epochs": "epochs", "num_epochs": "epochs",
    "max_iter": "epochs", "random_state": "seed", "criterion": "loss", "metrics": "metric", "solver": "optimizer",
    "hidden_layer_sizes": "hidden", "validation_split": "validation", "validation_data": "validation",
    "dropout": "Add DropoutLayer(rate) as the next layer.", "n_members": "n",
    "units": "n_units", "out_features": "n_units", "input_dim": "input_shape", "in_features": "input_shape",
    "kernel_initializer": "weights_initializer", "bias_initializer": "biases_initializer", "p": "rate",
    "kernel_regularizer": "penalty", "stddev": "standard_deviation", "eps": "epsilon", "clipnorm": "clip_norm",
    "clipvalue": "clip_value", "ema_momentum": "ema_decay", "gamma": "factor", "y_score": "y_pred",
    "layers": "Add each layer with network.add(layer).",
    "activation": "Add the activation as the next layer, such as ReLUActivation().",
    "weight_decay": "Give it to the optimizer, as in optimizer='adamw:weight_decay=0.01', or use the penalty l2.",
}  # fmt: skip


def check_arguments(name: str, given: Iterable[str], *functions: Callable[..., Any]) -> None:
    """Raise InvalidInputError for a keyword argument that none of the functions has, with a hint what to use instead.

    Several functions are given for one that passes its other arguments on to the next.
    """
    known = {key: one for function in functions for key, one in _arguments_of(function).items()}
    if any(one.kind == one.VAR_KEYWORD for one in _arguments_of(functions[-1]).values()):
        return
    names = [key for key, one in known.items() if one.kind != one.VAR_KEYWORD]
    for argument in given:
        if argument not in names or known[argument].kind == inspect.Parameter.POSITIONAL_ONLY:
            hint = next(filter(None, (argument_hint(argument, function) for function in functions)), "")
            raise InvalidInputError(f"{name} has no argument '{argument}'.{hint} It has: {', '.join(names)}.")


def argument_hint(argument: str, function: Callable[..., Any]) -> str:
    """Return what to use instead of an argument that a function does not have, after a space; "" if that is unknown."""
    known, owner, meant = _arguments_of(function), _owner_of(function), _meaning(argument, function)
    if meant in known:
        return f" Did you mean '{meant}'?"
    if owner is not None and meant in _arguments_of(owner):
        return f" Give {meant} to {owner.__name__}."
    if meant.endswith("."):
        return f" {meant}"
    near = nearest_name(argument, known, 0.8)
    families = [(one, one.classes_with(argument)) for one in Registry.families if one.kind in known]
    found = [(registry.kind, names) for registry, names in families if names]
    if near or len(found) != 1:
        return near
    (kind, names), default = found[0], known[found[0][0]].default
    return f" It is a setting of the {kind}, as in {kind}='{default if default in names else names[0]}:{argument}=...'."


def _meaning(argument: str, function: Callable[..., Any]) -> str:
    """Return the name here of an argument of another library, a sentence about it, or the name itself."""
    declared = [
        other_names(one).arguments for one in (inspect.unwrap(function), *getattr(_owner_of(function), "__mro__", ()))
    ]
    return next((names[argument] for names in (*declared, _ARGUMENTS_ELSEWHERE) if argument in names), argument)


def _arguments_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a function or of a constructor, without ``self`` and without ``**unknown: Never``."""
    parameters = inspect.signature(function).parameters
    return {name: one for name, one in parameters.items() if name not in ("self", "cls") and not _refuses_unknown(one)}


def _refuses_unknown(parameter: inspect.Parameter) -> bool:
    return parameter.kind == parameter.VAR_KEYWORD and parameter.annotation in ("Never", Never)


def _owner_of(function: Callable[..., Any]) -> type[Any] | None:
    """Return a class itself, the class of a method, or None for a function."""
    if isinstance(function, type):
        return function
    found = getattr(function, "__globals__", {}).get(function.__qualname__.rpartition(".")[0])
    return found if isinstance(found, type) else None


def checked(function: Named) -> Named:
    """Turn the TypeErrors of wrong calls into InvalidInputErrors that name the arguments (decorator).

    Of a class, the constructor and the public methods are decorated, except methods with ``**unknown: Never``, which
    call :func:`check_arguments` without another function call. The classes in a :class:`Registry` need no decorator.
    """
    if not isinstance(function, type):
        return cast("Named", functools.wraps(function)(_explained(function)))
    checked_constructor(function)
    for name, member in list(vars(function).items()):
        if not name.startswith("_"):
            if inspect.isfunction(member):
                if not any(map(_refuses_unknown, inspect.signature(member).parameters.values())):
                    setattr(function, name, checked(member))
            elif isinstance(member, classmethod):
                setattr(function, name, classmethod(checked(member.__func__)))
    return function


def checked_constructor(cls: type[Any]) -> None:
    """Decorate the constructor of a class by :func:`checked`; that of a dataclass shows types without ``Annotated``."""
    constructor = vars(cls).get("__init__")
    if inspect.isfunction(constructor):
        shown = [name for name, hint in constructor.__annotations__.items() if str(hint).startswith("Annotated[")]
        if shown and dataclasses.is_dataclass(cls):
            hints = typing.get_type_hints(cls)
            constructor.__annotations__ |= {name: hints[name] for name in shown}
        cls.__init__ = checked(constructor)


def _explained(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls ``function``, and raises InvalidInputError if its arguments are wrong."""
    explain = functools.partial(_call_error, function)

    def call(*args: Any, **keywords: Any) -> Any:
        try:
            return function(*args, **keywords)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # it was raised inside the function
            explained = explain(args, keywords)
            if explained is None:
                raise
            raise explained from None

    # The globals are those of the function's module, without which doctest would leave the function out.
    return types.FunctionType(call.__code__, getattr(function, "__globals__", globals()), closure=call.__closure__)


def _call_error(
    function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]
) -> InvalidInputError | None:
    """Return the error of a call with the wrong arguments; None if there is nothing wrong with them."""
    owner, known = _owner_of(function), _arguments_of(function)
    n_given = len(args) - len(inspect.signature(function).parameters) + len(known)  # without self
    name = function.__qualname__.removesuffix(".__init__").rpartition("<locals>.")[2]
    callee = owner if owner is not None and function.__name__ == "__init__" else function
    try:
        check_arguments(name, keywords, callee)
    except InvalidInputError as error:
        return error
    by_position = [key for key, one in known.items() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if n_given > len(by_position):
        accepted = f"only {listed(by_position)}" if by_position else "no argument"
        hint = argument_hint("*", callee) or " Give the others by name."
        return InvalidInputError(f"{name} takes {accepted} by position, and was given {n_given} arguments.{hint}")
    twice = [key for key in by_position[:n_given] if key in keywords]
    if twice:
        return InvalidInputError(f"{name} was given '{twice[0]}' twice, by position and by name.")
    required = [key for key, one in known.items() if one.default is one.empty and one.kind not in _VARIABLE]
    missing = [f"'{key}'" for key in required if key not in (*by_position[:n_given], *keywords)]
    if not missing:
        return None  # such as an abstract class
    return InvalidInputError(
        f"{name} needs the argument{'s' * (len(missing) > 1)} {listed(missing)}: call {name}({', '.join(required)})."
    )


class FixedAttributes:
    """Base class of objects to which no new public attribute can be added, so that misspelt names are found.

    Classes of users that derive from it may have any attributes.
    """

    if not TYPE_CHECKING:  # type checkers allow any attribute of a class with __setattr__

        def __setattr__(self, name: str, value: Any) -> None:
            if name not in self.__dict__ and not name.startswith("_"):
                cls = type(self)
                known, descriptor = _attributes_of(cls), getattr(cls, name, None)
                if known and name not in known:
                    hint = argument_hint(name, cls) or nearest_name(name, sorted(known))
                    raise InvalidInputError(f"{cls.__name__} has no attribute '{name}'.{hint}")
                if isinstance(descriptor, property) and descriptor.fset is None:
                    raise InvalidInputError(f"The {name} of a {cls.__name__} cannot be changed; make a new one.")
            super().__setattr__(name, value)


@functools.cache
def _attributes_of(cls: type[Any]) -> frozenset[str]:
    """Return the attributes that a class of chainrule declares; none for the class of a user."""
    if cls.__module__.partition(".")[0] != __package__:
        return frozenset()
    declared = (inspect.get_annotations(base) for base in cls.__mro__)
    return frozenset({*dir(cls), *itertools.chain(*declared)})


class Registry(Generic[Piece]):
    """The known classes of one family, by name.

    ``kind`` is the name of the family in error messages. ``base`` is the class that all of them derive from, also those
    of users. Files and tables use the names given here; :func:`find_name` says which others are accepted.

    A name may be followed by settings: ``"adam:beta1=0.8,epsilon=1e-7"``, or ``"l2:1e-4"`` with the values alone, in
    their order. The names of settings in other libraries are accepted.
    """

    families: ClassVar[list[Registry[Any]]] = []

    def __init__(self, kind: str, base: type[Any], classes: Mapping[str, type[Any]]) -> None:
        self.kind = kind
        self.base = base
        self.classes = dict(classes)
        for cls in self.classes.values():
            checked_constructor(cls)
        Registry.families.append(self)

    @classmethod
    def of(cls, kind: str, base: type[Any], *modules: ModuleType) -> Self:
        """Return the registry of the final classes that modules define and list in ``__all__``.

        Their names are those of the classes, in lower case and with underscores: ``LeakyReLUActivation`` of the base
        class ``ActivationLayer`` is "leaky_relu".
        """
        listed = [getattr(module, name) for module in modules for name in module.__all__]
        pieces = [one for one in listed if getattr(one, "__final__", False) and issubclass(one, base)]
        return cls(kind, base, {other_names(one).key or _key(one): one for one in pieces})

    def names(self) -> tuple[str, ...]:
        """Return the known names, sorted."""
        return tuple(sorted(self.classes))

    def name_of(self, piece: Piece | type[Piece]) -> str:
        """Return the registered name of a class or an instance, or the name of the class of a user."""
        cls = piece if isinstance(piece, type) else type(piece)
        return next((name for name, known in self.classes.items() if known is cls), cls.__name__)

    def find(self, name: str) -> type[Any]:
        """Return the class called ``name``; settings after the name do not matter."""
        return self.classes[find_name(self.kind, name.partition(":")[0], self.classes)]

    def classes_with(self, argument: str) -> list[str]:
        """Return the names of the classes whose constructor has an argument."""
        wanted = _spelling(argument)
        return [name for name, cls in self.classes.items() if wanted in map(_spelling, _arguments_of(cls))]

    def create(self, given: str | type[Any] | Piece, **settings: Any) -> Piece:
        """Return the instance for a name, a class or an instance.

        A name or a class is given the ``settings`` that are not None and that its constructor has, except those in the
        text after the name. An instance is returned unchanged.
        """
        own: dict[str, Any] = {}
        if isinstance(given, str):
            if len(given) > LONGEST_TEXT:  # it may come from a file
                raise InvalidInputError(f"The {self.kind} {shown(given)} is longer than {LONGEST_TEXT} characters.")
            cls = self.find(given)
            own = _read_settings(given, self.kind, cls)
        elif isinstance(given, type) and issubclass(given, self.base):
            cls = given
        elif isinstance(given, self.base):
            instance: Piece = given
            return instance
        else:
            raise InvalidInputError(
                f"{shown(given)} is no {self.kind}; give an instance or a subclass of {self.base.__name__}, or one of "
                f"the names: {', '.join(self.names())}."
            )
        known = _arguments_of(cls)
        others = {name: value for name, value in settings.items() if value is not None and name in known}
        created: Piece = _explained(cls)(**{**others, **own})
        return created


def _read_settings(text: str, kind: str, cls: type[Any]) -> dict[str, Any]:
    """Return the settings after the name of a piece, by the names of the arguments of its class.

    >>> def warm_up(warm_up_epochs, then): ...
    >>> _read_settings("warm_up:5,then=(cosine:epochs=95,final=0.1)", "schedule", warm_up)
    {'warm_up_epochs': 5, 'then': 'cosine:epochs=95,final=0.1'}
    """
    name, colon, rest = text.partition(":")
    names = list(_arguments_of(cls))
    settings: dict[str, Any] = {}
    for place, part in enumerate(_split(rest) if colon else ()):
        named = re.fullmatch(r"\s*([\w-]+)\s*=(.*)", part)
        key, value = (named[1], named[2].strip()) if named else ("".join(names[place : place + 1]), part.strip())
        meant = _meaning(key, cls)
        key = next((one for one in names if one == meant or _spelling(one) == _spelling(key)), key)
        if not key or not value or key in settings or value.count("(") != value.count(")"):
            raise InvalidInputError(
                f"The {kind} {shown(text)} cannot be read at {shown(part)}; write "
                f"'{name}:SETTING=VALUE,SETTING=VALUE' with the settings {', '.join(names)}."
            )
        settings[key] = _read_value(value)
    return settings


def _split(text: str) -> list[str]:
    """Split a text at the commas that are not inside parentheses.

    >>> _split("5,then=(step:every=2,milestones=(5,8)),end=1")
    ['5', 'then=(step:every=2,milestones=(5,8))', 'end=1']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _read_value(text: str) -> Any:
    """Return a number, a Boolean, None, a tuple of numbers in parentheses, or else the text itself.

    >>> [_read_value(text) for text in ("1e-4", "3", "true", "none", "(5,8)", "tanh")]
    [0.0001, 3, True, None, (5, 8), 'tanh']
    """
    if text.startswith("(") and text.endswith(")"):
        parts = [part.strip() for part in _split(text[1:-1]) if part.strip()]
        values = [part if part.startswith("(") else _read_value(part) for part in parts]
        return text[1:-1] if any(isinstance(value, str) for value in values) else tuple(values)
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def settings_of(piece: Any) -> dict[str, Any]:
    """Return the settings of a piece by name: what its constructor takes, kept in attributes of the same names.

    An argument with the name of a method, such as the ``input_shape`` of a layer, is left out.

    Raises InvalidInputError for a class of a user's own whose constructor takes something that it does not keep so:
    made again from a file, it would not be the same.
    """
    parameters = inspect.signature(type(piece).__init__).parameters
    if dataclasses.is_dataclass(piece):
        fields = [field.name for field in dataclasses.fields(piece) if field.init]
        if parameters.keys() >= set(fields):  # a user's class may have a constructor of its own
            return {name: getattr(piece, name) for name in fields}
    settings = {}
    for name, parameter in parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if inspect.ismethod(getattr(piece, name, None)):
            continue  # a layer's input_shape is the network's matter
        if not hasattr(piece, name):
            raise InvalidInputError(
                f"{type(piece).__name__} takes '{name}' and does not keep it as self.{name}, so no file can hold it; "
                "keep it so, or make the class a dataclass."
            )
        settings[name] = getattr(piece, name)
    return settings
