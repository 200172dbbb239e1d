"""Files that earlier versions wrote, in today's words: one named function a change of format."""

OLD_KEYS = {
    "calibration_error": "ece",
    "calibration_error_before_temperature": "ece_before_temperature",
    "by_sex": "gender",
    "by_intensity": "intensity",
    "recall_by_intensity": "intensity",
}
OLD_SPEAKER_COLUMN = "actor"


def scores_by_sex(content: object) -> object:
    """Scores of version 0.1, anywhere in a JSON file: `by_sex` and `by_intensity` are values of `by` now,
    `recall_by_intensity` of `recall_by`, and the calibration error is called ECE."""
    if isinstance(content, list):
        return [scores_by_sex(each) for each in content]
    if not isinstance(content, dict):
        return content
    migrated: dict = {}
    for key, value in content.items():
        group, _, _ = key.rpartition("_")
        place = migrated.setdefault(group, {}) if key in OLD_KEYS and group in ("by", "recall_by") else migrated
        place[OLD_KEYS.get(key, key)] = scores_by_sex(value)
    return migrated


def speaker_was_a_number(row: dict[str, str]) -> dict[str, str]:
    """A row of a predictions table of version 0.1, whose speakers were numbers, the odd ones men."""
    if OLD_SPEAKER_COLUMN not in row:
        return row
    number = int(row.pop(OLD_SPEAKER_COLUMN))
    return row | {"speaker": f"{number:02}", "gender": "male" if number % 2 else "female"}
