"""The folder of results: its manifest, the list of the files, and a Parquet file for each shard."""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frcnn.errors import OutputError
from frcnn.files import expanded, parse_json, remove_drafts, replacing, write_json
from frcnn.shards.inputs import Item, absolute, parquet_library

FORMAT = 1
MANIFEST, INPUTS = "manifest.json", "inputs.parquet"
_FIRST, _SHARD = (INPUTS, MANIFEST), "shard-"  # what is written when it begins, and then
_MARK = b"frcnn"  # of the Parquet schema's metadata: a user's table of this name has none
# What may differ between a call and the one that goes on: who works, and how fast.
_FREE = ("created", "versions")

Row = dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """Consecutive files whose results are one Parquet file.

    Attributes:
        number: from 0.
        items: the files.
        path: of the results.
    """

    number: int
    items: Sequence[Item]
    path: Path

    @property
    def is_finished(self) -> bool:
        """Whether the results are there; they are written at once."""
        return self.path.is_file()


class Store:
    """The results of one detection.

    Args:
        folder: of the results.

    Attributes:
        folder: as given.
        added: the files given to `begin` that the detection it goes on with did not begin with.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = expanded(folder)
        self.added: list[Item] = []
        self._parquet = parquet_library()

    # --- begin and go on --------------------------------------------------------------------

    def begin(self, items: Sequence[Item], per_shard: int, about: Mapping[str, Any], *,
              resume: bool = False) -> list[Shard]:
        """The shards of a new or an interrupted detection.

        Args:
            items: the files, in their order; one that goes on keeps the list it began with, which
                these may have more or fewer than; the further ones are in `added` then.
            per_shard: files in a shard.
            about: what the results depend on (checkpoint, configuration, classes); JSON's types.
            resume: whether to go on with what is in the folder.

        Returns:
            All shards, finished ones among them.

        Raises:
            OutputError: the folder has other results, results of other images, or other files.
        """
        manifest = {"format": FORMAT, "images_per_shard": per_shard, **about}
        listed = _as_table(items)  # may raise, before anything is written
        self.check_place(resume=resume)
        if (self.folder / MANIFEST).is_file():
            self._check(manifest)
            self.added = self._added(items)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(self.folder / INPUTS, listed)
            write_json(self.folder / MANIFEST, {**manifest, "images": len(items)})
        for prefix in (*_FIRST, _SHARD):
            remove_drafts(self.folder, prefix)
        return self.shards()

    def check_place(self, *, resume: bool = False) -> None:
        """Raises OutputError where the folder has other files, or results and not `resume`."""
        if (self.folder / MANIFEST).is_file():
            if not resume:
                raise OutputError(f"{self.folder} has results of an earlier detection; go on with "
                                  "--resume, or name another folder.")
        elif self.folder.is_dir() and not all(map(self._is_of_beginning, self.folder.iterdir())):
            raise OutputError(f"{self.folder} has other files in it; name a new folder.")

    def _is_of_beginning(self, path: Path) -> bool:
        """Whether a file is what is left where a detection was killed before its manifest."""
        if path.name.startswith(tuple(f".{name}." for name in _FIRST)) and path.suffix == ".tmp":
            return True
        if path.name != INPUTS:
            return False
        try:
            return _MARK in (self._parquet.read_schema(path).metadata or {})
        except Exception:  # of a file of another kind, of any kind
            return False

    def _check(self, manifest: Mapping[str, Any]) -> None:
        known, ours = self.manifest(), json.loads(json.dumps(dict(manifest)))
        for name in sorted({*known, *ours} - {*_FREE, "images"}):
            if known.get(name) != ours.get(name):
                raise OutputError(
                    f"{self.folder} was begun with another {name.replace('_', ' ')} "
                    f"({_short(known.get(name))}, now {_short(ours.get(name))}); go on with that, "
                    "or name another folder.")

    def _added(self, items: Sequence[Item]) -> list[Item]:
        """Those of the items that the detection in this folder did not begin with.

        Raises:
            OutputError: some of the images are others, and not only more or fewer.
        """
        known = self._items
        begun = set(map(_key, known))
        new = [item for item in items if _key(item) not in begun]
        given = set(map(_key, items)) if new else set()
        gone = [item for item in known if _key(item) not in given] if new else []
        if gone:
            raise OutputError(
                f"{self.folder} was begun with {len(known)} images, of which {len(gone)} are not "
                f"given now, such as {_shown(gone[0])}; {len(new)} of the {len(items)} that are "
                f"given are others, such as {_shown(new[0])}. Go on with those that it was begun "
                "with, or name another folder.")
        return new

    def manifest(self) -> dict[str, Any]:
        """What the results depend on.

        Raises:
            OutputError: the folder has none, or one of a newer format.
        """
        path = self.folder / MANIFEST
        try:
            content = parse_json(path.read_text("utf-8"))
        except FileNotFoundError:
            raise OutputError(f"{self.folder} has no {MANIFEST}; it is no folder of a detection in "
                              "shards.") from None
        except ValueError as error:
            raise OutputError(f"{path} cannot be read ({error}).") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise OutputError(f"{path} is of another format than {FORMAT}; a newer version wrote "
                              "it.")
        return content

    def shards(self) -> list[Shard]:
        """All shards, in order."""
        size, items = self.manifest()["images_per_shard"], self._items
        count = -(-len(items) // size)
        return [Shard(number, items[number * size:(number + 1) * size],
                      self.folder / f"{_SHARD}{number:05d}-of-{count:05d}.parquet")
                for number in range(count)]

    @functools.cached_property
    def _items(self) -> list[Item]:
        """The files that the detection began with, in order."""
        table = self._read(self.folder / INPUTS)
        return [Item(path, None if text is None else json.loads(text)) for path, text in
                zip(table.column("path").to_pylist(), table.column("image_id").to_pylist())]

    # --- results ----------------------------------------------------------------------------

    def write(self, shard: Shard, rows: Sequence[Row]) -> None:
        """Writes the results of a shard, at once.

        Args:
            shard: whose results they are.
            rows: one for each item, in order: `path`, `image_id` (as JSON, or None), `height` and
                `width` (or None), `boxes` `[N, 4]` (y1, x1, y2, x2), `class_ids`, `scores`,
                `error` (or None).
        """
        import pyarrow

        self._write(shard.path, pyarrow.Table.from_pylist(list(rows), schema()))

    def rows(self) -> Iterator[Row]:
        """The rows of all finished shards, in order; one shard is in memory at a time.

        Raises:
            OutputError: a shard is damaged.
        """
        for shard in self.shards():
            if shard.is_finished:
                for batch in self._read(shard.path).to_batches(max_chunksize=1000):
                    yield from batch.to_pylist()

    def errors(self, shard: Shard) -> int:
        """How many images of a finished shard could not be read."""
        column = self._read(shard.path, ["error"]).column("error")
        return len(column) - int(column.null_count)

    def results(self, shard: Shard) -> list[Row]:
        """The rows of a finished shard."""
        rows: list[Row] = self._read(shard.path).to_pylist()
        return rows

    def _read(self, path: Path, columns: Sequence[str] | None = None) -> Any:
        try:
            return self._parquet.read_table(path, columns=columns, memory_map=True)
        except Exception as error:  # of a damaged file, of any kind
            advice = "begin anew in another folder" if path.name == INPUTS else \
                "delete it, and go on with --resume to make it again"
            raise OutputError(f"{path} cannot be read ({error}); {advice}.") from error

    def _write(self, path: Path, table: Any) -> None:
        with replacing(path) as temporary:
            self._parquet.write_table(table, temporary)


def schema() -> Any:
    """The columns of a shard."""
    import pyarrow

    floats = pyarrow.float32()
    return pyarrow.schema([
        ("path", pyarrow.string()), ("image_id", pyarrow.string()), ("height", pyarrow.int32()),
        ("width", pyarrow.int32()), ("boxes", pyarrow.list_(pyarrow.list_(floats, 4))),
        ("class_ids", pyarrow.list_(pyarrow.int32())), ("scores", pyarrow.list_(floats)),
        ("error", pyarrow.string())])


def unfinished(shards: Iterable[Shard]) -> list[Shard]:
    """The shards whose results are not there yet."""
    return [shard for shard in shards if not shard.is_finished]


def _as_table(items: Sequence[Item]) -> Any:
    """The list of the images, marked as one of ours."""
    import pyarrow

    ids = [None if item.image_id is None else json.dumps(item.image_id) for item in items]
    table = pyarrow.table({
        "path": pyarrow.array([item.path for item in items], pyarrow.string()),
        "image_id": pyarrow.array(ids, pyarrow.string())})
    return table.replace_schema_metadata({_MARK: "inputs"})


def _key(item: Item) -> tuple[str, str]:
    """What tells an item from others, also where an older version stored a relative path."""
    return absolute(item).path, json.dumps(item.image_id)


def _shown(item: Item) -> str:
    return item.path if item.image_id is None else f"{item.path} (id {item.image_id})"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
