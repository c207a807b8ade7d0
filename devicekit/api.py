"""The public verbs that join what the pipeline returns with filing it in the store."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from devicekit.convert.source import Loading
from devicekit.device.seam import Device
from devicekit.fit.budgets import Budgets
from devicekit.fit.candidate import Prefer
from devicekit.pipeline import deploy as pipeline
from devicekit.pipeline.deployment import Deployment
from devicekit.pipeline.making import Making
from devicekit.quantize.recipes import Io
from devicekit.runner.measuring import NO_WISHES, Measuring
from devicekit.store.deployments import file_in_store

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile


def deploy(
    model: str | Path,
    profile: "str | Path | Profile",
    *,
    data: str | None = None,
    eval_function: str | None = None,
    device: str | Device = "auto",
    measuring: Measuring = NO_WISHES,
    recipes: Sequence[str] = (),
    prefer: Prefer | None = None,
    min_cosine: float | None = None,
    min_top1_agreement: float | None = None,
    max_step: float | None = None,
    max_size_bytes: int | None = None,
    max_memory_bytes: int | None = None,
    max_latency_ms: float | None = None,
    max_accuracy_drop: float | None = None,
    io: Io | None = None,
    threads: int | None = None,
    folder: str | Path | None = None,
    overwrite: bool = False,
    keep_all: bool = False,
    store: str | Path | None = None,
    timeout_s: float | None = None,
    accept_data: bool = False,
    keep_worst: int = 1,
    **loading: Unpack[Loading],
) -> Deployment:
    """Returns the deployment of `model` on `profile`, filed in `folder` (default MODEL.PROFILE, here).

    It is filed in the `store` too (store.open.open_store; "": in none), where reports and histories find it.

    `model` is a .h5, .keras, SavedModel or .tflite; `data` names calibration and evaluation inputs. What is
    None or empty comes from the profile; the budgets (fit.budgets.Budgets) win over its limits, and
    fit.choose.TIE_BREAKS says what decides between those that fit. `io` is the type of inputs and outputs of
    recipes that quantize them. `loading` is of convert_source: `trust`, `custom_objects`, `shapes`, …
    `device` is an address, an alias of the fleet file or "auto" (discover.choose), `measuring` how to use it.
    `accept_data` goes on with data that the float model makes nothing of. `keep_worst` samples of each
    recipe, those furthest from the float model, are filed in the folder worst.
    `timeout_s` bounds the silence of every step. Where nothing fits, or the device is lost on the way,
    `chosen` is None and `error` says why.
    Raises ProfileError, RecipeError, UsageError, ModelError, DeviceError and MeasurementError.
    """
    deployment = pipeline.deploy(
        Path(model),
        profile,
        Making(
            recipes=tuple(recipes),
            data=data,
            eval_function=eval_function,
            prefer=prefer,
            min_cosine=min_cosine,
            min_top1_agreement=min_top1_agreement,
            max_step=max_step,
            io=io,
            timeout_s=timeout_s,
            accept_data=accept_data,
            keep_worst=keep_worst,
            **loading,
        ),
        Budgets(
            max_size_bytes=max_size_bytes,
            max_memory_bytes=max_memory_bytes,
            max_latency_ms=max_latency_ms,
            max_accuracy_drop=max_accuracy_drop,
            min_cosine=min_cosine,
            min_top1_agreement=min_top1_agreement,
            max_step=max_step,
        ),
        device=device,
        measuring=measuring,
        threads=threads,
        folder=folder,
        overwrite=overwrite,
        keep_all=keep_all,
    )
    return file_in_store(deployment, deployment.alias or deployment.device.address, store)
