"""Results as JSON, for scripts."""

from typing import Any

from devicekit.words import dumps


def render(results: Any) -> str:
    return dumps(results.to_json()) + "\n"
