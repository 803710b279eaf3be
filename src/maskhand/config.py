"""Settings: TOML files and `section.key=value` overrides become dataclasses; anything unknown is an error."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from maskhand.errors import ConfigError

T = TypeVar("T")
DEFAULT_STEPS = 1
"""Rounds of unmasking (paper: 5): more are slower, and with the shipped weights no better."""
DRAWING_STEPS = 5
"""Rounds where poses are drawn, the paper's: tokens drawn in one go know nothing of each other."""


def build(cls: type[T], values: Mapping[str, Any], *, at: str = "") -> T:
    """A dataclass from nested mappings, each value checked against its annotation.

    Raises:
        ConfigError: a key is unknown, a value has the wrong type, or the dataclass refuses it.

    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = set(values) - set(fields)
    if unknown:
        name = at + sorted(unknown)[0]
        raise ConfigError(f"unknown setting {name}; known here: {', '.join(at + f for f in sorted(fields))}")
    required = [f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise ConfigError(f"setting {at}{missing[0]} is missing")
    hints = typing.get_type_hints(cls)
    return cls(**{key: _convert(hints[key], value, at + key) for key, value in values.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} is {value!r}; expected a table of settings")
        return build(hint, value, at=name + ".")  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or value == "none":
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, name)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ConfigError(f"{name} is {value!r}; expected a list")
        if Ellipsis not in arguments and len(value) != len(arguments):
            raise ConfigError(f"{name} is {value!r}; expected {len(arguments)} values")
        return tuple(_convert(arguments[0], item, f"{name}[{i}]") for i, item in enumerate(value))
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(map(repr, arguments))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ConfigError(f"{name} is {value!r}; expected {hint.__name__}")
    return value


def load(cls: type[T], path: str | Path, overrides: Sequence[str] = ()) -> T:
    """Read a TOML file into `cls` and apply overrides such as `train.steps=100`."""
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config {path} does not exist; the project's own are in configs/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path} cannot be read as text: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config {path} is not valid TOML: {error}") from error
    return build(cls, _overridden(values, overrides))


def with_overrides(config: T, overrides: Sequence[str]) -> T:
    """The config with settings such as `fit.rounds=5` changed."""
    return build(type(config), _overridden(to_dict(config), overrides)) if overrides else config


def _overridden(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"override {override!r} has no '='; write it as section.key=value")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        *tables, leaf = key.strip().split(".")
        table = values
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise ConfigError(f"override {override!r}: {name} is a value, not a table")
        table[leaf] = value
    return values


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested values, as `build` takes them."""
    return _walk(dataclasses.asdict(config))


def _walk(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _walk(v) for key, v in value.items()}
    return [_walk(v) for v in value] if isinstance(value, tuple) else value
