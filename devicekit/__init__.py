"""devicekit takes a Keras model to a device. The public names, resolved on first use (PEP 562)."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> "module:attr". Nothing heavy is imported until a name is used.
_PUBLIC = {
    "deploy": "devicekit.deploy:deploy",
    "load_profile": "devicekit.profile.lookup:load_profile",
    "inspect_model": "devicekit.inspect:inspect_model",
    "check_model": "devicekit.check.model:check_model",
    "convert": "devicekit.deploy:convert",
    "measure": "devicekit.deploy:measure",
}

__all__ = ["__version__", "check_model", "convert", "deploy", "inspect_model", "load_profile", "measure"]

if TYPE_CHECKING:
    from devicekit.check.model import check_model
    from devicekit.deploy import convert, deploy, measure
    from devicekit.inspect import inspect_model
    from devicekit.profile.lookup import load_profile


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'devicekit' has no attribute {name!r}")
    from devicekit.plugins import resolve

    return resolve(_PUBLIC[name])


def __dir__() -> list[str]:
    return sorted(__all__)
