"""How the operators of runtimes and delegates read on a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from devicekit import words as fmt
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
        words = ("no", "", "") if op is None else _cells(op, one, listing.release_of(one))
        rows.append((f"  {_title(listing, one)}", *map(escape, words)))
    return columns(("", "versions", "dtypes", "if"), rows, left=4)


def _table(listing: "Listing", one: "Support", *, first: bool) -> Iterator[Any]:
    ops = listing.ops_of(one)
    if not first:
        yield ""
    title = _title(listing, one)
    yield f"[bold]{title}[/]   {fmt.plural(len(ops), 'operator')}"
    if ops:
        yield columns(
            ("op", "versions", f"dtypes of {one.types_of}" if one.types_of else "dtypes", "if"),
            [(op.name, *map(escape, _cells(op, one, listing.release_of(one)))) for op in ops],
            left=4,
        )
    shown = {op.name for op in ops}
    for name in listing.asked:
        if name not in shown:
            later = one.first_release(name, 1)
            yield f"{name}   is not in {title}" + (f", but from {later} on" if later else "")
    yield ""
    yield labelled([("origin  ", escape(one.origin))])


def _title(listing: "Listing", one: "Support") -> str:
    return escape(" ".join(filter(None, (one.title, listing.release_of(one)))))


def _cells(op: "OpSupport", one: "Support", release: str | None) -> tuple[str, str, str]:
    """Returns versions, dtypes and conditions of an operator, in words."""
    highest = op.version if release is None else one.highest_version(op.name, release)
    if highest == 0:
        return "no", "", ""
    versions = "all" if highest is None else f"1-{highest}" if highest > 1 else "1"
    if op.first is not None and release is None:
        versions = ", ".join(
            f"{version} {'in' if since == one.oldest else 'from'} {since}"
            for version, since in op.first.items()
        )
    conditions = [op.note] if op.note else []
    if op.android:
        conditions.insert(0, f"Android {op.android} on")
    dtypes = fmt.UNKNOWN if op.types is None else ", ".join(op.types)
    return versions, dtypes, "; ".join(conditions)
