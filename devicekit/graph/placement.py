"""Places tensors in one block of memory as LiteRT does: big ones first, into the tightest gap."""

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

FOREVER = 2**31 - 1


@dataclass(frozen=True)
class Life:
    """A tensor's bytes, and the first and last operator at which it is alive; `last` is FOREVER at the end.

    A temporary's `tensor` is -1 - (index of its op). `where` it lies: in the arena, in the persistent one, in
    the memory of another tensor, or in a piece of the heap of its own.
    """

    tensor: int
    size_bytes: int
    first: int
    last: int
    where: Literal["arena", "persistent", "shared", "heap"] = "arena"


@dataclass(frozen=True)
class Placement:
    """Where an activation lies: offset and size in bytes; alive from op `first` to op `last`, inclusive."""

    tensor: int
    offset: int
    size_bytes: int
    first: int
    last: int


def place(lives: Iterable[Life], alignment: int) -> list[Placement]:
    """Returns the placements of `lives`, which are placed in the order given."""
    placed: list[Placement] = []  # by offset; of equal offsets the later one behind
    for life in lives:
        offset = _offset(life, placed, alignment)
        placement = Placement(life.tensor, offset, life.size_bytes, life.first, life.last)
        insort(placed, placement, key=lambda p: p.offset)
    return placed


def extent(placements: Iterable[Placement]) -> int:
    """Returns the bytes that hold all `placements`."""
    return max((p.offset + p.size_bytes for p in placements), default=0)


def _offset(life: Life, placed: Sequence[Placement], alignment: int) -> int:
    best: int | None = None
    best_gap = FOREVER**2
    end = 0
    for other in placed:
        if other.last < life.first or other.first > life.last:
            continue
        start = -(-end // alignment) * alignment
        if start + life.size_bytes <= other.offset and other.offset - start < best_gap:
            best, best_gap = start, other.offset - end
        end = max(end, other.offset + other.size_bytes)
        if best_gap == 0:
            break
    return -(-end // alignment) * alignment if best is None else best


def _goes_before(a: Life, b: Life) -> bool:
    """Lives of the whole run first, then by falling size, then by op: CreateTensorAllocationVector."""
    a_is_whole, b_is_whole = (life.first == 0 and life.last == FOREVER for life in (a, b))
    if a_is_whole or b_is_whole:
        return a_is_whole and (not b_is_whole or a.tensor < b.tensor)
    return (-a.size_bytes, a.first) < (-b.size_bytes, b.first)


_SHORT = 16  # _S_threshold of libstdc++'s std::sort: from here on by insertion


def in_order(lives: Iterable[Life]) -> list[Life]:
    """Returns `lives` in the order in which LiteRT places them.

    Tensors of one size that begin at one operator are equal to its comparison, and std::sort is not stable:
    which comes first depends on how libstdc++ sorts, so that this sorts in the same steps. Other C++
    libraries (Android's) may swap such tensors.
    """
    found = list(lives)
    _sort_roughly(found, 0, len(found), 2 * max(len(found).bit_length() - 1, 0))
    for i in range(1, len(found)):
        life, j = found[i], i
        while j > 0 and _goes_before(life, found[j - 1]):
            j -= 1
        found.insert(j, found.pop(i))
    return found


def _sort_roughly(found: list[Life], first: int, end: int, depth: int) -> None:
    """Introsort down to runs of 16: median of three, the right part first, a heap where it is deep."""
    while end - first > _SHORT:
        if depth == 0:
            found[first:end] = _heap_sorted(found[first:end])
            return
        depth -= 1
        cut = _partition(found, first, end)
        _sort_roughly(found, cut, end, depth)
        end = cut


def _partition(found: list[Life], first: int, end: int) -> int:
    middle = first + (end - first) // 2
    _median_to(found, first, first + 1, middle, end - 1)
    low, high = first + 1, end
    while True:
        while _goes_before(found[low], found[first]):
            low += 1
        high -= 1
        while _goes_before(found[first], found[high]):
            high -= 1
        if low >= high:
            return low
        found[low], found[high] = found[high], found[low]
        low += 1


def _median_to(found: list[Life], target: int, a: int, b: int, c: int) -> None:
    """Swaps the median of places a, b, c to `target`."""
    if _goes_before(found[a], found[b]):
        chosen = b if _goes_before(found[b], found[c]) else c if _goes_before(found[a], found[c]) else a
    else:
        chosen = a if _goes_before(found[a], found[c]) else c if _goes_before(found[b], found[c]) else b
    found[target], found[chosen] = found[chosen], found[target]


def _heap_sorted(found: list[Life]) -> list[Life]:
    heap = list(found)
    for parent in range((len(heap) - 2) // 2, -1, -1):
        _sift(heap, parent, len(heap), heap[parent])
    for end in range(len(heap) - 1, 0, -1):
        life, heap[end] = heap[end], heap[0]
        _sift(heap, 0, end, life)
    return heap


def _sift(heap: list[Life], hole: int, count: int, life: Life) -> None:
    """Moves the hole down to a leaf along the children that come last, then `life` up to its place."""
    top = hole
    while (right := 2 * hole + 2) <= count:
        child = right - 1 if right == count or _goes_before(heap[right], heap[right - 1]) else right
        heap[hole] = heap[child]
        hole = child
    while hole > top and _goes_before(heap[(hole - 1) // 2], life):
        heap[hole] = heap[(hole - 1) // 2]
        hole = (hole - 1) // 2
    heap[hole] = life


# The sizes that libstdc++'s hash tables grow through (hashtable-aux.cc), as far as one operator has tensors.
_BUCKETS = (13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10273, 20753, 42043)


def hash_order(indices: Sequence[int]) -> list[int]:
    """Returns distinct `indices` in the order in which an std::unordered_set yields them (libstdc++).

    ArenaPlanner keeps the tensors of each operator in one. A new element goes in front of those of its
    bucket, or in front of all where its bucket is empty; growing inserts all of them anew.
    """
    buckets = 1
    listed: list[int] = []
    for count, index in enumerate(dict.fromkeys(indices), start=1):
        if count > buckets or buckets == 1:
            buckets = next((size for size in _BUCKETS if size >= count), count)
            before, listed = listed, []
            for other in before:
                _insert(listed, other, buckets)
        _insert(listed, index, buckets)
    return listed


def _insert(listed: list[int], index: int, buckets: int) -> None:
    own = index % buckets
    listed.insert(next((i for i, other in enumerate(listed) if other % buckets == own), 0), index)
