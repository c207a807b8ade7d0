"""Making: how artifacts are made, as the user asks for it, in place of what the profile says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.errors import UsageError
from devicekit.fit.candidate import Prefer
from devicekit.fit.choose import PREFERENCES
from devicekit.profile.lookup import load_profile
from devicekit.quantize.recipes import Io, known_recipe, with_io

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile


@dataclass(frozen=True)
class Making:
    """How artifacts are made, as `deploy` takes it; what is None or empty comes from the profile."""

    recipes: tuple[str, ...] = ()
    data: str | None = None
    eval_function: str | None = None
    prefer: Prefer | None = None
    min_cosine: float | None = None
    min_top1_agreement: float | None = None
    max_step: float | None = None
    io: Io | None = None
    trust: bool = False
    custom_objects: str | Path | None = None
    shapes: Mapping[str, Sequence[int]] | None = None
    rewrite: bool = True
    stateless: bool = False
    custom_ops: Sequence[str] = ()
    timeout_s: float | None = None
    accept_data: bool = False
    keep_worst: int = 0

    def applied_to(self, profile: "str | Path | Profile") -> "Profile":
        """Returns the profile with what is set here. Raises ProfileError, RecipeError, UsageError."""
        target = load_profile(profile) if isinstance(profile, str | Path) else profile
        refuse_unlisted(self.custom_ops, target)
        tried = tuple(dict.fromkeys(self.recipes)) or target.recipes.try_
        own = {"prefer": self.prefer, "try_": with_io(tried, self.io)}
        quality = {name: getattr(self, name) for name in ("min_cosine", "min_top1_agreement", "max_step")}
        target = target.model_copy(
            update={
                "recipes": target.recipes.model_copy(update=given(own)),
                "quality": target.quality.model_copy(update=given(quality)),
            }
        )
        for recipe in target.recipes.try_:
            known_recipe(recipe)
        if target.recipes.prefer not in PREFERENCES:
            raise UsageError(
                f'cannot prefer "{target.recipes.prefer}"', remedy=f"choose from: {', '.join(PREFERENCES)}"
            )
        return target

    def loading(self) -> dict[str, Any]:
        """Returns the options of convert_source."""
        names = ("trust", "custom_objects", "shapes", "rewrite", "stateless", "custom_ops", "timeout_s")
        return given({name: getattr(self, name) for name in names})


AS_PROFILES_SAY = Making()


def refuse_unlisted(custom_ops: Sequence[str], profile: "Profile | None") -> None:
    """Raises UsageError where an op is to be left to the device whose runtime does not list it."""
    listed = profile.ops.custom if profile else ()
    for name in custom_ops:
        if name not in listed:
            where = f"{profile.name}'s ops.custom" if profile else "a profile"
            raise UsageError(
                f"--custom-op {name}: {where} does not list it",
                remedy=f'register its kernel in the device\'s runtime, and write ops.custom = ["{name}"]',
            )


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that are not None, so that the defaults of what takes them stand for the rest."""
    return {key: value for key, value in values.items() if value is not None}
