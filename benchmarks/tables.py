"""TableForm: how the rows of a benchmark read as a table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TableForm:
    """A title, and for each column the key of the row, its heading and its format.

    A row without a key, or with None under it, has an empty cell there; a column without a value is left out. A ratio
    that is inside its spread is called a tie.
    """

    title: str
    columns: tuple[tuple[str, str, str], ...]

    def shown(self, rows: list[dict]) -> "TableForm":
        """The same without the columns that these rows leave empty."""
        filled = tuple(each for each in self.columns if any(row.get(each[0]) is not None for row in rows))
        return TableForm(self.title, filled if rows else self.columns)

    @property
    def headings(self) -> list[str]:
        """The first line of the table."""
        return [heading for _, heading, _ in self.columns]

    def cells(self, row: dict) -> list[str]:
        """One row as text."""
        return [
            "tie"
            if key == "ours_against" and row.get("tie")
            else form.format(row[key])
            if row.get(key) is not None
            else ""
            for key, _, form in self.columns
        ]
