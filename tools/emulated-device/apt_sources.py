#!/usr/bin/env python3
"""Print the Debian part of this machine's apt sources, with deb-src added.

Usage: apt_sources.py CODENAME

build.sh feeds the result to a private apt, so neither the host's source list
nor its list of foreign architectures has to change.  Third-party sources are
left out: only suites named CODENAME, CODENAME-updates, CODENAME-security or
CODENAME/updates are kept.
"""

import re
import sys
from pathlib import Path

ETC = Path("/etc/apt")


def one_line_entries(text):
    """Yield (uri, suite, signed_by) from the classic one-line format."""
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)", line.strip())
        if match:
            options, uri, suite = match.groups()
            signed = re.search(r"signed-by=(\S+)", options or "")
            yield uri, suite, signed.group(1) if signed else None


def deb822_entries(text):
    """Yield (uri, suite, signed_by) from the stanza format (*.sources)."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", text):
        # A field runs on over the following indented lines.
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.M))
        fields = {key.lower(): value for key, value in fields.items()}
        if fields.get("enabled", "yes").strip().lower() == "no":
            continue
        if "deb" in fields.get("types", "").split():
            for uri in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    yield uri, suite, fields.get("signed-by")


def main(codename):
    """Print one stanza per wanted (uri, suite)."""
    wanted = {codename, f"{codename}-updates", f"{codename}-security", f"{codename}/updates"}
    files = [ETC / "sources.list", *sorted((ETC / "sources.list.d").glob("*.list"))]
    entries = [e for f in files if f.is_file() for e in one_line_entries(f.read_text())]
    for path in sorted((ETC / "sources.list.d").glob("*.sources")):
        entries += deb822_entries(path.read_text())
    kept = dict.fromkeys(e for e in entries if e[1].rstrip("/") in wanted)
    if not kept:
        sys.exit(f"no apt source for {codename} found below {ETC}")
    for uri, suite, signed_by in kept:
        print(f"Types: deb deb-src\nURIs: {uri}\nSuites: {suite}\nComponents: main")
        if signed_by:
            print(f"Signed-By: {signed_by}")
        print()


if __name__ == "__main__":
    main(sys.argv[1])
