"""Settings: what a configuration class does with its settings, whatever they are.

Every upper-case class attribute is a setting, every upper-case property is derived from settings.
"""

import copy
import difflib
import importlib
import inspect
import json
import os
from collections.abc import Collection, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from frcnn.errors import ConfigError
from frcnn.files import parse_json, to_plain_json, write_json

# Similarity (difflib's ratio) from which on an unknown name is taken for a misspelled setting.
_MISSPELLED = 0.85
# Functions from here may be named by a file.
_OWN_NETWORK = "frcnn.network."
_CONTAINERS = (list, dict, set, tuple, np.ndarray)


class Settings:
    """Base of `Config`: the direct subclass declares settings, further ones replace their values.

    An instance has its own copy of every list, dict and array, so that a change in place affects
    no other instance and no class. A name that resembles a declared one is refused as misspelled,
    in a class and in an assignment; other upper-case names are settings of the user's own.

    Args:
        **settings: settings that replace the class's own values.

    Raises:
        ConfigError: a name is unknown or misspelled, or a value is not allowed.
    """

    # Of derived properties: the settings to change instead.
    _sources: ClassVar[Mapping[str, str]] = {}
    # Settings that may be functions; they are stored by import path.
    _callables: ClassVar[tuple[str, ...]] = ()
    # Settings that JSON's lists become arrays for.
    _arrays: ClassVar[tuple[str, ...]] = ()
    # Settings that are accepted and have no effect.
    _ignored: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **settings: Any) -> None:
        for name in filter(_is_setting_name, dir(type(self))):
            self._check_class_attribute(name)
        for name in self.setting_names():
            value = getattr(type(self), name, None)
            if isinstance(value, _CONTAINERS) and name not in vars(self):
                setattr(self, name, value)
        self._unbind_functions()
        self._assign(settings)
        self.check()

    def check(self) -> None:
        """Raises ConfigError for the first setting with a value that is not allowed."""

    # --- names ------------------------------------------------------------------------------

    @classmethod
    def setting_names(cls) -> list[str]:
        """Names of all settings, in alphabetical order, with those that a subclass adds."""
        return [name for name in dir(cls) if _is_setting_name(name) and name not in cls._ignored
                and (name in cls._callables or not _is_code(cls, name))]

    @classmethod
    def _derived_names(cls) -> list[str]:
        return [name for name in dir(cls) if _is_setting_name(name) and _is_property(cls, name)]

    @classmethod
    def _is_declared(cls, name: str) -> bool:
        """Whether the direct subclass declares the setting."""
        bases = cls.__mro__
        return hasattr(bases[bases.index(Settings) - 1], name)

    def _check_class_attribute(self, name: str) -> None:
        if not _is_property(type(self), name):
            self._check_name(name)

    def _check_name(self, name: str) -> None:
        """Raises ConfigError for the name of a derived value and for a misspelled one."""
        if name in self._sources:
            raise ConfigError(f"{name} follows from {self._sources[name]}; set these instead.")
        if self._is_declared(name) or name in self._ignored:
            return
        declared = [known for known in self.setting_names() if self._is_declared(known)]
        for known in difflib.get_close_matches(name, declared, n=3, cutoff=_MISSPELLED):
            # LEARNING_RATE_DECAY or MY_LEARNING_RATE is hardly a misspelled LEARNING_RATE.
            if not (name.startswith(known + "_") or name.endswith("_" + known)):
                raise ConfigError(
                    f"{type(self).__name__} has no setting {name!r}; did you mean {known}? Give a "
                    "setting of your own a name that differs more.")

    if not TYPE_CHECKING:  # type checkers would allow any name because of it

        def __getattr__(self, name: str) -> Any:
            if name in type(self)._ignored:
                raise AttributeError(
                    f"{name} is a setting of the reference's masks or of its older releases, and "
                    "has no effect here: leave it out.")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def __setattr__(self, name: str, value: Any) -> None:
            if _is_setting_name(name):
                self._check_name(name)
                value = _own_copy(value)
            super().__setattr__(name, value)

    def _assign(self, settings: Mapping[str, Any]) -> None:
        """Sets existing settings; raises ConfigError for others, with the most similar name."""
        known = self._stored_names()
        for name, value in settings.items():
            if name not in known and name not in self._sources and name not in self._ignored:
                near = difflib.get_close_matches(name.upper(), known, n=1)
                hint = f"did you mean {near[0]}?" if near else "display() lists all."
                raise ConfigError(f"{type(self).__name__} has no setting {name!r}; {hint}")
            setattr(self, name, value)

    def _unbind_functions(self) -> None:
        """Unbinds functions assigned as class attributes, which Python would bind as methods."""
        for name in self._callables:
            value = getattr(self, name)
            if inspect.ismethod(value) and value.__self__ is self:
                owner = next(base for base in type(self).__mro__ if name in vars(base))
                if not value.__qualname__.startswith(owner.__qualname__ + "."):
                    setattr(self, name, value.__func__)

    # --- copies -----------------------------------------------------------------------------

    def __copy__(self) -> Self:
        other = type(self).__new__(type(self))
        vars(other).update({name: _own_copy(value) for name, value in vars(self).items()})
        return other

    def replaced(self, **settings: Any) -> Self:
        """A copy, of the same class and with all other settings, with some settings replaced.

        Raises:
            ConfigError: as the constructor does.
        """
        other = copy.copy(self)
        other._assign(settings)
        other.check()
        return other

    # --- output and input -------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All settings and derived values, by name, in alphabetical order."""
        names = {*self._stored_names(), *self._derived_names()}
        return {name: getattr(self, name) for name in sorted(names)}

    def _stored_names(self) -> list[str]:
        own = {name for name in vars(self) if _is_setting_name(name)} - {*self._ignored}
        return sorted({*self.setting_names(), *own})

    def display(self) -> None:
        """Prints all settings and derived values, one a line."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print()

    def to_json(self) -> str:
        """The settings as a JSON text.

        Derived values are left out, functions are named by their import path. Settings of the
        user's own that JSON cannot represent are left out, too.

        Raises:
            ConfigError: a declared setting cannot be represented.
        """
        return json.dumps(self._to_plain(), indent=2)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_json()` to a file, atomically."""
        write_json(path, self._to_plain())

    def _to_plain(self) -> dict[str, Any]:
        plain = {}
        for name in self._stored_names():
            value = getattr(self, name)
            if name in self._callables and callable(value):
                value = _import_path(name, value)
            try:
                plain[name] = to_plain_json(value)
            except (TypeError, ValueError) as error:
                if self._is_declared(name):
                    raise ConfigError(f"{name} cannot be stored: {error}") from error
        return plain

    def custom_paths(self) -> set[str]:
        """The import paths of the functions among the settings."""
        return _import_paths(self)

    @classmethod
    def from_json(cls, text: str, allow_custom: bool | Collection[str] = False) -> Self:
        """The instance that `to_json` described.

        Settings that this class does not have are ignored, so that older and newer files can be
        read.

        Args:
            text: a JSON object.
            allow_custom: True imports the functions that the text names, whatever they are, and
                lets them be called: only for a text from someone you trust. Or the import paths
                that are allowed. Those of the class itself, and of `frcnn.network`, always are.

        Raises:
            ConfigError: the text is not a JSON object, a value is not allowed, or it names a
                function that may not be imported.
        """
        try:
            settings = parse_json(text)
        except ValueError as error:
            raise ConfigError(f"The configuration is not JSON: {error}.") from error
        if not isinstance(settings, dict):
            raise ConfigError("The configuration is not a JSON object of settings.")
        own = _import_paths(cls)  # a set of texts, in which a list or dict cannot be looked up
        allowed = allow_custom if isinstance(allow_custom, bool) else {*allow_custom}
        return cls(**{name: cls._from_plain(name, settings[name], allowed)
                      for name in cls.setting_names() if name in settings
                      and not (name in cls._callables and isinstance(settings[name], str)
                               and settings[name] in own)})

    @classmethod
    def _from_plain(cls, name: str, value: Any, allowed: bool | set[str]) -> Any:
        if name in cls._arrays or isinstance(getattr(cls, name), np.ndarray):
            try:
                return np.array(value)
            except ValueError:  # lists of different lengths
                raise ConfigError(
                    f"{name} is {value!r}; allowed is a flat list of numbers.") from None
        if name in cls._callables and isinstance(value, str) and ":" in value:
            is_trusted = allowed if isinstance(allowed, bool) else value in allowed
            return _import_callable(name, value, is_trusted)
        return value


def _is_setting_name(name: str) -> bool:
    return name.isupper() and not name.startswith("_")


def _is_property(cls: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(cls, name), property)


def _is_code(cls: type, name: str) -> bool:
    """Whether a class attribute is a property or a method, not a value."""
    value = inspect.getattr_static(cls, name)
    return isinstance(value, (property, staticmethod, classmethod)) or inspect.isroutine(value)


def _own_copy(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, _CONTAINERS) else value


def _import_path(name: str, value: Any) -> str:
    if not hasattr(value, "__qualname__"):
        raise ConfigError(f"{name} is {value!r}, which has no name to store it by; allowed is a "
                          "function or class of a module.")
    return f"{value.__module__}:{value.__qualname__}"


def _import_paths(owner: Settings | type[Settings]) -> set[str]:
    """Those of the functions that an instance or a class has as settings."""
    functions = {name: getattr(owner, name, None) for name in owner._callables}
    return {_import_path(name, value) for name, value in functions.items()
            if callable(value) and hasattr(value, "__qualname__")}


def _import_callable(name: str, path: str, is_trusted: bool) -> Any:
    module, _, attribute = path.partition(":")
    if not is_trusted and not f"{module}.".startswith(_OWN_NETWORK):
        raise _not_trusted(name, path)
    owner: Any = None
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            owner, found = found, getattr(found, part)
            if not is_trusted and not f"{getattr(found, '__module__', '')}.".startswith("frcnn."):
                raise _not_trusted(name, path)  # something that the module imports itself
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{name} names {path!r}, which cannot be imported: {error}.") from error
    if inspect.isfunction(found) and inspect.isclass(owner) and issubclass(owner, Settings) \
            and not isinstance(inspect.getattr_static(owner, part), staticmethod):
        return MethodType(found, owner())
    return found


def _not_trusted(name: str, path: str) -> ConfigError:
    module, _, attribute = path.partition(":")
    return ConfigError(
        f"{name} names {path!r}: the module {module} would be imported, and {attribute} called "
        "from it, with your rights. That is not done because a file says so. If you trust where "
        "the file comes from, pass allow_custom=True (a program: --trust).")
