"""Words: the nearest valid one for a typo."""

import difflib
from collections.abc import Iterable

# Comparing is quadratic, and words come from untrusted files: no valid word is longer.
MAX_LENGTH = 80


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the word of `known` that `word` most likely means, whatever its case; None if none is near."""
    if not 0 < len(word) <= MAX_LENGTH:
        return None
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None
