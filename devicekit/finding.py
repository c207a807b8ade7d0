"""Finding: one broken rule."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One broken rule: what was found against what is allowed, and one thing to do.

    `excess` is how many times the limit was found, where the rule is about an amount.

    `op` is the operator ("CONV_2D (op 14)"), `layer` the Keras layer behind it; None: it is about the file.
    """

    rule: str
    detail: str
    remedy: str
    layer: str | None = None
    op: str | None = None
    excess: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
