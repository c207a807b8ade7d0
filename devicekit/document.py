"""How the kit's JSON is written: strict, and readable."""

import json
import re
from typing import Any

# A list of numbers alone; strings with brackets in them have quotes, which are not matched.
_NUMBERS = re.compile(r"\[\s[-+.0-9eE,\s]+\]")


def dumps(document: Any) -> str:
    """Returns JSON without NaN, a key a line, and lists of numbers (raw samples, shapes) on one line."""
    text = json.dumps(document, indent=2, allow_nan=False)
    return _NUMBERS.sub(lambda match: "[" + " ".join(match[0][1:-1].split()) + "]", text)
