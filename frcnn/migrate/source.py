"""A Python text, the changes to it, and what is said about them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from frcnn.errors import MigrationError


@dataclass(frozen=True, order=True)
class Finding:
    """A line that was changed, or has to be.

    Attributes:
        cell: of a notebook, the number of the code cell, from 1; 0 for a script.
        line: its number, from 1.
        message: what was changed, or the reason and what to write.
        by_hand: whether the line has to be changed by hand.
    """

    cell: int
    line: int
    message: str
    by_hand: bool = False

    @property
    def place(self) -> str:
        """The cell and the line, as in "3:12", or the line alone."""
        return f"cell {self.cell}, line {self.line}" if self.cell else str(self.line)


@dataclass(frozen=True, order=True)
class _Edit:
    start: int
    end: int
    text: bytes


class Source:
    """A Python text with its syntax tree; edits are collected, and made all at once.

    Positions are bytes in UTF-8, as `ast` counts columns.

    Args:
        text: of a module.

    Raises:
        MigrationError: it is not Python 3.

    Attributes:
        tree: the module.
        findings: in the order in which they were made.
        stores: where each variable is bound, by its name.
    """

    def __init__(self, text: str) -> None:
        try:
            self.tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:  # ValueError: a null byte
            line = getattr(error, "lineno", None)
            where = f"line {line}: " if line else ""
            reason = getattr(error, "msg", error)
            raise MigrationError(f"{where}it is not valid Python 3 ({reason}); 2to3 converts "
                                 "Python 2") from None
        self.data = text.encode()
        self.findings: list[Finding] = []
        self._edits: set[_Edit] = set()
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        # Python before 3.12 counts columns inside of f-strings wrongly.
        self._in_texts = {inner for node in ast.walk(self.tree) if isinstance(node, ast.JoinedStr)
                          for inner in ast.walk(node)}
        self.stores: dict[str, list[ast.Name]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.stores.setdefault(node.id, []).append(node)
        self._parents = {child: parent for parent in ast.walk(self.tree)
                         for child in ast.iter_child_nodes(parent)}

    # --- places -----------------------------------------------------------------------------

    def start(self, node: ast.AST) -> int:
        """Where a node begins."""
        return self._starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Where a node ends."""
        return self._starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def text(self, node: ast.AST) -> str:
        """The text of a node."""
        return self.data[self.start(node):self.end(node)].decode()

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node around a node."""
        return self._parents.get(node)

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that a node is part of."""
        while not isinstance(node, ast.stmt):
            node = self._parents[node]
        return node

    # --- changes ----------------------------------------------------------------------------

    def note(self, node: ast.AST, message: str, by_hand: bool = False) -> None:
        """Adds a finding at a node's line, once."""
        finding = Finding(0, node.lineno, message, by_hand)  # type: ignore[attr-defined]
        if finding not in self.findings:
            self.findings.append(finding)

    def replace(self, node: ast.AST, text: str) -> None:
        """Replaces the text of a node."""
        if not self._is_placed(node):
            self.note(node, f"write {text} in the text, for {ast.unparse(node)}", by_hand=True)
            return
        self._edits.add(_Edit(self.start(node), self.end(node), text.encode()))

    def _is_placed(self, node: ast.AST) -> bool:
        """Whether a node is where it says, which it may not be in an f-string."""
        if node not in self._in_texts:
            return True
        try:
            found = ast.parse(self.text(node).strip(), mode="eval").body
        except (SyntaxError, ValueError):
            return False
        return ast.dump(found) == ast.dump(node)

    def replace_range(self, start: int, end: int, text: str = "") -> None:
        """Replaces bytes."""
        self._edits.add(_Edit(start, end, text.encode()))

    def remove_from(self, items: list[ast.AST], unwanted: list[ast.AST]) -> None:
        """Removes items of a list that are separated by commas, with the commas.

        Args:
            items: all of them, in the order of the text; keywords of a call among them.
            unwanted: some of them.
        """
        if not all(map(self._is_placed, items)):
            self.note(items[0], "leave the masks out of the text", by_hand=True)
            return
        for place, item in enumerate(items):
            if not any(item is other for other in unwanted):
                continue
            kept_before = [other for other in items[:place]
                           if not any(other is gone for gone in unwanted)]
            if kept_before:  # from the end of the one before
                self.replace_range(self.end(items[place - 1]), self.end(item))
            elif place + 1 < len(items):
                self.replace_range(self.start(item), self.start(items[place + 1]))
            else:
                self.replace_range(self.start(item), self.end(item))

    def remove_statement(self, statement: ast.stmt) -> None:
        """Removes a statement with its line; the only one of a block becomes `pass`."""
        block = self._block(statement)
        alone = len(block) == 1 and not isinstance(self._parents[statement], ast.Module)
        start, end = self.start(statement), self.end(statement)
        line_start = self.data.rfind(b"\n", 0, start) + 1
        line_end = self.data.find(b"\n", end)
        line_end = len(self.data) if line_end < 0 else line_end + 1
        before, after = self.data[line_start:start], self.data[end:line_end].strip()
        if alone or before.strip() or (after and not after.startswith(b"#")):
            self.replace_range(start, end, "pass")
        else:
            self.replace_range(line_start, line_end)

    def _block(self, statement: ast.stmt) -> list[ast.stmt]:
        parent = self._parents[statement]
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and statement in block:
                return block
        return [statement]

    def result(self) -> str:
        """The text with all edits; those inside of another one's range are left out."""
        made = bytearray()
        place = 0
        for edit in self._outermost():
            made += self.data[place:edit.start] + edit.text
            place = edit.end
        return (made + self.data[place:]).decode()

    def _outermost(self) -> Iterator[_Edit]:
        """The edits in the order of the text, without those inside of others."""
        end = -1
        # insertions first
        for edit in sorted(self._edits, key=lambda edit: (edit.start, edit.end > edit.start,
                                                          -edit.end)):
            if edit.start >= end:
                yield edit
                end = edit.end


def root_of(node: ast.AST) -> str:
    """The first part of a dotted name; empty for another expression."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return getattr(node, "id", "")


def last_of(node: ast.AST) -> str:
    """The last part of a dotted name, and of a method of any expression; else empty."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
