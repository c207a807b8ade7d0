"""devicekit takes a Keras model to a device. The public names are resolved on first use."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "calibrate",
    "check_model",
    "compare",
    "convert",
    "deploy",
    "fleet_run",
    "inspect_model",
    "load_profile",
    "measure",
    "predict",
    "probe",
]

if TYPE_CHECKING:
    from devicekit.calibration import calibrate
    from devicekit.check.model import check_model
    from devicekit.compare.run import compare
    from devicekit.deploy import convert, deploy, measure
    from devicekit.fleet.run import fleet_run
    from devicekit.inspect import inspect_model
    from devicekit.prediction import predict
    from devicekit.probing import probe
    from devicekit.profile.lookup import load_profile


class _Lazy:
    """A public name that is imported when it is used.

    It is a data descriptor, so it wins over a submodule of the same name (`deploy`, `convert`), which
    importing would otherwise put in its place.
    """

    def __init__(self, target: str) -> None:
        self._target = target

    def __get__(self, package: object, owner: type | None = None) -> Any:
        from devicekit.plugins import resolve

        return resolve(self._target)

    def __set__(self, package: object, submodule: object) -> None:
        pass


class _Package(ModuleType):
    deploy = _Lazy("devicekit.deploy:deploy")
    convert = _Lazy("devicekit.deploy:convert")
    measure = _Lazy("devicekit.deploy:measure")
    predict = _Lazy("devicekit.prediction:predict")
    probe = _Lazy("devicekit.probing:probe")
    calibrate = _Lazy("devicekit.calibration:calibrate")
    compare = _Lazy("devicekit.compare.run:compare")
    check_model = _Lazy("devicekit.check.model:check_model")
    fleet_run = _Lazy("devicekit.fleet.run:fleet_run")
    inspect_model = _Lazy("devicekit.inspect:inspect_model")
    load_profile = _Lazy("devicekit.profile.lookup:load_profile")


sys.modules[__name__].__class__ = _Package
