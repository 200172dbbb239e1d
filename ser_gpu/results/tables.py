"""Tables as Markdown."""

from collections.abc import Sequence


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """A Markdown table: columns from the keys of the first row, the first one left-aligned, the others right.

    >>> print(markdown([{"emotion": "sad", "clips": 192}]))
    | emotion | clips |
    | --- | ---: |
    | sad | 192 |
    """
    columns = list(rows[0])
    rule = ["---", *["---:"] * (len(columns) - 1)]
    lines = [columns, rule, *([str(row[column]) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
