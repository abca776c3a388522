"""Pieces that users may name: a class, an instance, or a string such as ``"adam"``, all mean the same thing.

Every family of pieces (activations, losses, optimizers, ...) keeps one :class:`Registry`. Files resolve names
through the same registries, so that a file can only ever name classes that are listed here or that its reader passed
in.

The names that other libraries give to a piece stand beside its class, see :func:`also_called`.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Generic, Self, TypeVar

from chainrule.errors import InvalidInputError, nearest_name

__all__ = ["OtherNames", "Registry", "also_called", "check_arguments", "find_name", "other_names", "settings_of"]

Piece = TypeVar("Piece")
Named = TypeVar("Named", bound=Callable[..., Any])

_ATTRIBUTE = "_names_elsewhere"


@dataclass(frozen=True)
class OtherNames:
    """What a piece is called elsewhere.

    ``aliases`` are names for exactly the same function, with the same defaults. ``unlike`` are names of something else
    that is near: for each a sentence that says what to take here and how it differs.
    """

    aliases: tuple[str, ...] = ()
    unlike: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None


def also_called(
    *aliases: str, unlike: Mapping[str, str] | None = None, key: str | None = None
) -> Callable[[Named], Named]:
    """Declare the names that PyTorch, Keras and others give to a class or a function; a decorator.

    ``key`` is the name in the registry, for a class whose name does not consist of words such as ``LeakyReLU``.

    Case, ``-``, ``_`` and spaces inside a name do not matter. An alias must mean exactly the same function as the piece
    with its default settings; for all else ``unlike`` has a sentence. A subclass has other names of its own.
    """

    def declare(piece: Named) -> Named:
        setattr(piece, _ATTRIBUTE, OtherNames(aliases, unlike or {}, key))
        return piece

    return declare


def other_names(piece: Any) -> OtherNames:
    """Return what was declared beside a class or a function."""
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


# What other libraries call an argument, and what it is called here.
_ARGUMENTS_ELSEWHERE = {
    "lr": "learning_rate", "learning_rate_init": "learning_rate", "n_epochs": "epochs", "num_epochs": "epochs",
    "max_iter": "epochs", "random_state": "seed", "criterion": "loss", "metrics": "metric", "solver": "optimizer",
    "hidden_layer_sizes": "hidden", "validation_split": "validation", "validation_data": "validation",
    "units": "n_units", "out_features": "n_units", "input_dim": "input_shape", "in_features": "input_shape",
    "kernel_initializer": "weights_initializer", "bias_initializer": "biases_initializer", "p": "rate",
    "stddev": "standard_deviation", "eps": "epsilon", "beta_1": "beta1", "beta_2": "beta2", "weight_decay": "l2",
    "clipnorm": "clip_norm", "clipvalue": "clip_value", "ema_momentum": "ema_decay",
}  # fmt: skip


def check_arguments(name: str, function: Callable[..., Any], given: Iterable[str], **hints: str) -> None:
    """Raise InvalidInputError for a keyword argument that a function does not have, with the one that is meant.

    ``hints`` say what to do in place of an argument that there is nowhere.
    """
    known = inspect.signature(function).parameters
    if any(parameter.kind == parameter.VAR_KEYWORD and key != "unknown" for key, parameter in known.items()):
        return
    arguments = [key for key in known if key not in ("self", "unknown")]
    for argument in given:
        if argument not in arguments:
            meant = _ARGUMENTS_ELSEWHERE.get(argument)
            hint = nearest_name(argument, arguments, 0.8) if meant not in arguments else f" Did you mean '{meant}'?"
            hint = f" {hints[argument]}" if argument in hints else hint
            raise InvalidInputError(f"{name} has no argument '{argument}'.{hint} It has: {', '.join(arguments)}.")


class Registry(Generic[Piece]):
    """The known classes of one family, by name.

    ``kind`` is the family's name in error sentences; ``base`` the class that all of them derive from, a user's own too.
    Files and tables use the names given here; :func:`find_name` says what else is accepted.
    """

    def __init__(self, kind: str, base: type[Any], classes: Mapping[str, type[Any]]) -> None:
        self.kind = kind
        self.base = base
        self.classes = dict(classes)

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
        """Return the registered name of a class or instance, or its class name when it is a user's own."""
        cls = piece if isinstance(piece, type) else type(piece)
        return next((name for name, known in self.classes.items() if known is cls), cls.__name__)

    def find(self, name: str) -> type[Any]:
        """Return the class called ``name``: its name here, its class name, or one that another library gives it."""
        return self.classes[find_name(self.kind, name, self.classes)]

    def create(self, given: str | type[Any] | Piece, **settings: Any) -> Piece:
        """Turn a name, a class or an instance into an instance.

        ``settings`` whose value is not None are handed to a class or a name that has them; an instance already has
        its own and is returned as it is.
        """
        if isinstance(given, str):
            given = self.find(given)
        if isinstance(given, type) and issubclass(given, self.base):
            known = inspect.signature(given).parameters
            created: Piece = given(
                **{key: value for key, value in settings.items() if value is not None and key in known}
            )
            return created
        if isinstance(given, self.base):
            instance: Piece = given
            return instance
        raise InvalidInputError(
            f"{given!r} is no {self.kind}; give a {self.base.__name__}, its class, or one of the names: "
            f"{', '.join(self.names())}."
        )


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
