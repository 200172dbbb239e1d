"""The one error of this package."""

LONGEST_MESSAGE = 199
_LONGEST_PROBLEM = 150


class AudioError(ValueError):
    """Audio that cannot be used; the message is one line under 200 letters that names the recording."""

    @classmethod
    def of(cls, name: str, problem: str) -> "AudioError":
        """The error `name: problem`; what cannot be printed is escaped, and a long name keeps its end.

        Example:
            >>> AudioError.of("a\\nb.wav", "is empty")
            AudioError('a\\\\nb.wav: is empty')
        """
        problem = _shortened(printable(problem), _LONGEST_PROBLEM)
        name, room = printable(name), LONGEST_MESSAGE - len(problem) - 2
        return cls(f"{name if len(name) <= room else '...' + name[3 - room :]}: {problem}")


def printable(text: str) -> str:
    """The same text on one line: what is no letter, mark or space is escaped, such as bytes that are no UTF-8."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def reason(error: Exception) -> str:
    """The first line of what another library says about its error."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    lines = str(text).strip().splitlines() or [type(error).__name__]
    return _shortened(" ".join(lines[0].split()).rstrip("."), 80)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
