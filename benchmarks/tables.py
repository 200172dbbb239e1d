"""TableForm: how the rows of a benchmark read as a table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TableForm:
    """A title, and for each column the key of the row, its heading and its format.

    A row without a key, or with None under it, has an empty cell there.
    """

    title: str
    columns: tuple[tuple[str, str, str], ...]

    @property
    def headings(self) -> list[str]:
        """The first line of the table."""
        return [heading for _, heading, _ in self.columns]

    def cells(self, row: dict) -> list[str]:
        """One row as text."""
        return [form.format(row[key]) if row.get(key) is not None else "" for key, _, form in self.columns]
