"""devicekit takes a Keras model to a device. The public names are resolved on first use."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devicekit.api import deploy
    from devicekit.compare.run import compare
    from devicekit.fleet.run import fleet_run
    from devicekit.pipeline.calibrate import calibrate
    from devicekit.pipeline.check import check_model
    from devicekit.pipeline.convert import convert
    from devicekit.pipeline.inspect import inspect_model
    from devicekit.pipeline.measure import measure
    from devicekit.pipeline.predict import predict
    from devicekit.pipeline.probe import probe
    from devicekit.profile.lookup import load_profile
    from devicekit.words import VERSION as __version__

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


class _Lazy:
    """A public name that is imported when it is used.

    It is a data descriptor, so it wins over a submodule of the same name (`compare`, `convert`), which
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
    __version__ = _Lazy("devicekit.words:VERSION")
    calibrate = _Lazy("devicekit.pipeline.calibrate:calibrate")
    check_model = _Lazy("devicekit.pipeline.check:check_model")
    compare = _Lazy("devicekit.compare.run:compare")
    convert = _Lazy("devicekit.pipeline.convert:convert")
    deploy = _Lazy("devicekit.api:deploy")
    fleet_run = _Lazy("devicekit.fleet.run:fleet_run")
    inspect_model = _Lazy("devicekit.pipeline.inspect:inspect_model")
    load_profile = _Lazy("devicekit.profile.lookup:load_profile")
    measure = _Lazy("devicekit.pipeline.measure:measure")
    predict = _Lazy("devicekit.pipeline.predict:predict")
    probe = _Lazy("devicekit.pipeline.probe:probe")


sys.modules[__name__].__class__ = _Package
