"""Modules whose every name is an empty class: enough for habitat-lab to be imported where habitat-sim is missing.

``stand_in.install("magnum")`` makes ``magnum`` and each of its submodules such a module. Nothing of ours uses them;
they are on ``sys.path`` (so that worker processes find them too) only where the real ones are not installed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType


class _EmptyMeta(type):
    """Any attribute of an empty class is another one."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return empty_class(name)


class Empty(metaclass=_EmptyMeta):
    """What every name of a stand-in module is; takes any arguments, may be subclassed."""

    def __init__(self, *args: object, **kwargs: object):
        pass


def empty_class(name: str) -> type:
    return _EmptyMeta(name, (Empty,), {})


def _get(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return empty_class(name)


class _Submodules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``<package>.anything`` for the stand-in packages."""

    packages: set[str] = set()  # noqa: RUF012 - shared by design

    def find_spec(self, fullname, path=None, target=None):
        package, _, rest = fullname.partition(".")
        if not rest or package not in self.packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec):
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = _get  # type: ignore[method-assign]


_FINDER = _Submodules()


def install(package: str) -> None:
    """Called by the stand-in package ``package`` itself when it is imported."""
    sys.modules[package].__getattr__ = _get  # type: ignore[method-assign]
    _FINDER.packages.add(package)
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)
