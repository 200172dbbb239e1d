"""Tables as Markdown."""

from collections.abc import Sequence


def table(rows: Sequence[dict[str, object]]) -> str:
    """A Markdown table. Its columns are the keys of the first row; columns of numbers are aligned to the right.

    >>> print(table([{"emotion": "sad", "clips": 192}, {"emotion": "calm", "clips": 96}]))
    | emotion | clips |
    | --- | ---: |
    | sad | 192 |
    | calm | 96 |
    """
    columns = list(rows[0])
    cells = [[str(row[column]) for column in columns] for row in rows]
    rule = ["---:" if all(map(_is_number, column)) else "---" for column in zip(*cells, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (columns, rule, *cells))


def _is_number(cell: str) -> bool:
    """A number with its unit or interval, or nothing."""
    return not cell or cell.lstrip("+-±")[:1].isdigit()
