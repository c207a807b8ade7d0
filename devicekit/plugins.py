"""Resolves the entries of plug-in tables: literal dicts of name -> "module:attr"."""

from importlib import import_module
from typing import Any


def resolve(target: str) -> Any:
    """Returns the object that `target` ("package.module:attr") names."""
    module, _, attr = target.partition(":")
    return getattr(import_module(module), attr)
