"""Checks of HDF5 files from strangers: a file holds all that is read from it, and no more.

HDF5 itself follows links to other files, reads arrays that are declared to lie in other files, and
allocates what a file declares before it looks for the numbers. Nothing here reads an array.
"""

import math
import zlib
from collections.abc import Iterator
from typing import Any, NoReturn

import h5py

from frcnn.errors import CheckpointError

MAX_ARRAY = 2**33  # bytes of one array
MAX_ARRAYS = 100_000  # arrays of a file
MAX_NAMES = 2**26  # bytes of an attribute
MAX_DEPTH = 64  # groups in groups
# A chunk may be larger than its array, which can grow, but not much.
MAX_CHUNK = 2**20
# A byte of deflated data holds at most so many: RFC 1951, a match of 258 bytes in two bits.
_MOST_INFLATED = 1032
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_CHECKSUM = 4  # bytes that fletcher32 adds to a chunk


_HOLDS_ITSELF = ("A weight file has to hold its arrays itself: save the weights again where that "
                 "file comes from.")


def member(group: Any, name: str) -> Any:
    """The group or data set of that name, which may be a path, in an open `h5py.Group`.

    Raises:
        KeyError: there is none.
        CheckpointError: it is a link, to another place or another file.
    """
    found = group.file if name.startswith("/") else group
    for part in filter(None, name.split("/")):
        if not isinstance(found, h5py.Group):
            raise KeyError(f"{name} is no group or array")
        link = _link(found, part)
        if link is None:
            raise KeyError(f"{name} is missing")
        if link:
            raise CheckpointError(f"{group.file.filename}: {found.name.rstrip('/')}/{part} is a "
                                  f"link to {link}. {_HOLDS_ITSELF}")
        found = found[part]
    return found


def _link(group: Any, name: str) -> str | None:
    """Where a name in a group leads: "" to an object of its own, else elsewhere; None: no such."""
    links, key = group.id.links, name.encode()
    if not links.exists(key):
        return None
    kind = links.get_info(key).type
    if kind == h5py.h5l.TYPE_HARD:
        return ""
    if kind == h5py.h5l.TYPE_SOFT:
        return repr(links.get_val(key).decode(errors="replace"))
    if kind == h5py.h5l.TYPE_EXTERNAL:
        file, path = (value.decode(errors="replace") for value in links.get_val(key))
        return f"{path!r} in another file, {file!r}"
    return "something that only other programs know"


def groups_in(group: Any) -> Iterator[Any]:
    """The groups in a group, in HDF5's order; raises as `member`."""
    for name in group:
        found = member(group, name)
        if isinstance(found, h5py.Group):
            yield found


def optional_group(group: Any, name: str) -> Any:
    """The group of that name in a group, or None; raises as `member`."""
    found = member(group, name) if _link(group, name) is not None else None
    return found if isinstance(found, h5py.Group) else None


def identity(group: Any) -> int:
    """A number that a group has under all of its names in the file."""
    address: int = h5py.h5o.get_info(group.id).addr
    return address


def read_attribute(owner: Any, name: str) -> Any:
    """The attribute of that name.

    Raises:
        KeyError: there is none.
        CheckpointError: it is too large.
    """
    described = owner.attrs.get_id(name)
    count = math.prod(described.shape or ())
    size = count * described.dtype.itemsize
    if size > MAX_NAMES or count > MAX_ARRAYS:
        raise CheckpointError(f"{owner.file.filename}: the attribute {name!r} of {owner.name} has "
                              f"{count:,} entries, {size:,} bytes; this is not a weight file.")
    return owner.attrs[name]


def check_array(dataset: Any) -> None:
    """Checks that a data set lies in the file, complete, and is no larger than it can be.

    Raises:
        CheckpointError: it does not.
    """
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        sources = sorted({plan.get_virtual_filename(i) for i in range(plan.get_virtual_count())})
        _refuse(dataset, "is a virtual data set, of arrays in "
                         f"{', '.join(map(repr, sources[:3]))}. {_HOLDS_ITSELF}")
    if plan.get_external_count():
        name = plan.get_external(0)[0].decode(errors="replace")
        _refuse(dataset, f"has its numbers in another file, {name!r}. {_HOLDS_ITSELF}")
    if dataset.shape is None or dataset.dtype.kind == "O":
        return  # it is never read
    size, stored = _bytes(dataset.shape, dataset), dataset.id.get_storage_size()
    if size > MAX_ARRAY:
        _refuse(dataset, f"is declared with the shape {dataset.shape}, {size:,} bytes; at most "
                         f"{MAX_ARRAY:,} are read (frcnn.weights.hdf5_checks.MAX_ARRAY).")
    if plan.get_layout() == h5py.h5d.CHUNKED:
        _check_chunks(dataset, plan, size, stored)
    elif stored < size or stored > dataset.file.id.get_filesize():
        _refuse(dataset, f"is declared with the shape {dataset.shape}, {size:,} bytes, which the "
                         "file does not hold. Take another checkpoint.")


def _check_chunks(dataset: Any, plan: Any, size: int, stored: int) -> None:
    filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
    unknown = [number for number in filters if number not in _FILTERS]
    if unknown or filters.count(h5py.h5z.FILTER_DEFLATE) > 1:
        _refuse(dataset, f"is stored with the HDF5 filters {filters}; read are at most one gzip, "
                         "shuffle and fletcher32. Save the weights without compression.")
    chunk = _bytes(dataset.chunks, dataset)
    if chunk > max(size, MAX_CHUNK):
        _refuse(dataset, f"is stored in chunks of {chunk:,} bytes, but has {size:,}. Save the "
                         "weights again without chunks.")
    if size > stored * (_MOST_INFLATED if filters else 1):
        _refuse(dataset, f"is declared with the shape {dataset.shape}, {size:,} bytes, of which "
                         f"{stored:,} are stored. Take another checkpoint.")
    needed = math.prod(-(-side // step) for side, step in zip(dataset.shape, dataset.chunks))
    if dataset.id.get_num_chunks() < needed:
        _refuse(dataset, f"is not complete: {dataset.id.get_num_chunks()} of its {needed} chunks "
                         "are stored. Take another checkpoint.")


def check_compression(dataset: Any) -> None:
    """Checks that no chunk of a data set inflates to more than its size; `check_array` comes first.

    HDF5 inflates whatever there is, in memory.

    Raises:
        CheckpointError: one does.
    """
    if dataset.chunks is None or dataset.compression != "gzip":
        return
    limit = _bytes(dataset.chunks, dataset) + _CHECKSUM
    places: list[tuple[int, ...]] = []
    dataset.id.chunk_iter(lambda info: places.append(info.chunk_offset))
    for place in places:
        mask, raw = dataset.id.read_direct_chunk(place)
        if not mask and len(zlib.decompressobj().decompress(raw, limit + 1)) > limit:
            _refuse(dataset, "has a chunk that inflates to more than its size; this is not a file "
                             "that HDF5 wrote.")


def _bytes(sides: tuple[int, ...], dataset: Any) -> int:
    return math.prod(sides) * int(dataset.dtype.itemsize)


def _refuse(dataset: Any, what: str) -> NoReturn:
    raise CheckpointError(f"{dataset.file.filename}: the array {dataset.name} {what}")
