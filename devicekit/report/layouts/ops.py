"""How the operators of runtimes and delegates read on a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from devicekit.report import format as fmt
from devicekit.report.text import columns, escape, labelled

if TYPE_CHECKING:
    from devicekit.profile.op_support import Listing, OpSupport, Support


def lines(listing: "Listing") -> Iterator[Any]:
    """Yields an overview where nothing was asked for; else a table per runtime and delegate, or per op."""
    if listing.is_overview:
        yield columns(
            ("name", "what it is", "kind", "operators"),
            [(one.name, one.title, one.kind, str(len(one.ops))) for one in listing.supports],
            left=3,
        )
        yield ""
        yield labelled([(f"{one.name}  ", escape(one.origin)) for one in listing.supports])
        yield "\n→ `devicekit ops --runtime tflm`, `--delegate gpu`, or `devicekit ops CONV_2D` in all"
        return
    if len(listing.supports) > 1 and listing.asked:
        for name in listing.asked:
            yield f"[bold]{name}[/]"
            yield _by_support(listing, name)
        return
    for index, one in enumerate(listing.supports):
        yield from _table(listing, one, first=index == 0)


def _by_support(listing: "Listing", name: str) -> Any:
    rows = []
    for one in listing.supports:
        op = one.ops.get(name)
        words = ("no", "", "") if op is None else _cells(op, listing.version)
        rows.append((f"  {one.title}", *map(escape, words)))
    return columns(("", "versions", "dtypes", "if"), rows, left=4)


def _table(listing: "Listing", one: "Support", *, first: bool) -> Iterator[Any]:
    ops = [op for name, op in one.ops.items() if not listing.asked or name in listing.asked]
    if listing.version and one.has_versions:
        ops = [op for op in ops if one.highest_version(op.name, listing.version)]
    if not first:
        yield ""
    release = f" {listing.version}" if listing.version and one.has_versions else ""
    yield f"[bold]{escape(one.title)}{escape(release)}[/]   {fmt.plural(len(ops), 'operator')}"
    yield columns(
        ("op", "versions", "dtypes", "if"),
        [(op.name, *map(escape, _cells(op, listing.version))) for op in ops],
        left=4,
    )
    for name in listing.asked:
        if name not in one.ops:
            yield f"{name}   is not in {escape(one.title)}"
    yield ""
    yield labelled([("origin  ", escape(one.origin))])


def _cells(op: "OpSupport", release: str | None) -> tuple[str, str, str]:
    """Returns versions, dtypes and conditions of an operator, in words."""
    from devicekit.profile.op_support import parts

    versions = "all" if op.first is None and op.version is None else ""
    if op.version is not None:
        versions = f"1-{op.version}" if op.version > 1 else "1"
    if op.first is not None and release is not None:
        known = [version for version, since in op.first.items() if parts(since) <= parts(release)]
        versions = f"1-{max(known)}" if known and max(known) > 1 else "1" if known else "no"
    elif op.first is not None:
        versions = ", ".join(f"{version} from {since}" for version, since in op.first.items())
    conditions = [op.note] if op.note else []
    if op.android:
        conditions.insert(0, f"Android {op.android} on")
    dtypes = fmt.UNKNOWN if op.types is None else ", ".join(op.types)
    return versions, dtypes, "; ".join(conditions)
