"""The table that the README shows: each speed beside the fastest of the others, and what it was bought with."""

from benchmarks.tables import TableForm
from benchmarks.timing import against

FORM = TableForm(
    "Against the fastest of the others in the same run",
    (
        ("what", "", "{}"),
        ("ours", "ser_gpu (spread)", "{}"),
        ("theirs", "fastest other", "{}"),
        ("ours_against", "times as fast", "{:.1f}"),
        ("error", "error", "{}"),
    ),
)


def subjects(result: dict) -> dict:
    """What the table shows of a result: the subjects that were measured."""
    return {name: result[name] for name in _BUILDERS if name in result}


def rows(result: dict) -> list[dict]:
    """Rows of the table."""
    return [row for name, measured in subjects(result).items() for row in _BUILDERS[name](measured["tables"])]


def _log_mel(tables: dict) -> list[dict]:
    # all cores, not one thread; on a GPU that table has only librosa's processes beside ser_gpu
    whole = tables.get("whole", [])
    table = whole if any(row["competitor"] == "torchaudio" for row in whole) else tables["n_fft"]
    table = [row for row in table if row["n_fft"] == 1024]
    compiled = [row for row in table if row["competitor"].endswith(", compiled")]
    if all(row["competitor"].startswith("ser_gpu") for row in compiled):  # no other was compiled in that run
        table = [row for row in table if row not in compiled]
    return _against("log-mel, n_fft 1024", table, "error_db", "{:.0e} dB")


def _augment(tables: dict) -> list[dict]:
    return [
        *_against("pitch shift, one thread", tables["pitch_shift"], "error_cents", "{:.2f} cents"),
        *_against("trim, pitch, stretch, noise, log-mel", tables.get("chain_processes", [])),
    ]


def _pipeline(tables: dict) -> list[dict]:
    table = [row for row in tables["waveform_to_probabilities"] if "before" not in row["competitor"]]
    copies = max(row["copies"] for row in table)  # as `predict` answers
    table = [row for row in table if row["copies"] == copies]
    what = f"waveform to probabilities, {copies} {'copy' if copies == 1 else 'copies'}"
    others = [row for row in table if not row["competitor"].startswith("ser_gpu")]
    resident = [row for row in table if row["competitor"] in ("ser_gpu", "ser_gpu, compiled")]
    uploaded = [row for row in table if "upload" in row["competitor"]]
    return [
        *_against(what, resident + others, "error", "{:.0e}"),
        *_against(f"{what}, upload included", uploaded + others, "error", "{:.0e}"),
    ]


def _training(tables: dict) -> list[dict]:
    table = [row for row in tables["epoch"] if "augmented" in row["competitor"] and row["batch"] == 32]
    return _against("training, augmented", table)


def _start(tables: dict) -> list[dict]:
    clip = tables["clip"][0]
    return [{"what": "one clip, waveform to label", "ours": f"{clip['median_ms']:.1f} ms"}]


def _files(tables: dict) -> list[dict]:
    # of ours the default model alone
    table = tables.get("process", [])
    table = [row for row in table if row["competitor"] == "ser_gpu" or not row["competitor"].startswith("ser_gpu")]
    return _against("files to labels, start included", table, "error", "{:.0e}")


def _against(what: str, table: list[dict], error: str = "", form: str = "{}") -> list[dict]:
    """The fastest of ours against the fastest of the others; nothing where none of ours was measured."""
    timed = [row for row in table if row.get("clips_per_second")]
    ours = [row for row in timed if row["competitor"].startswith("ser_gpu")]
    others = [row for row in timed if row not in ours]
    if not ours:
        return []
    first = max(ours, key=lambda row: row["clips_per_second"])
    spread = f" ({first['spread']:.0%})" if first.get("spread") is not None else ""
    found = {"what": what, "ours": f"{first['clips_per_second']:,.0f} clips/s{spread}"}
    if first.get(error) is not None:
        found["error"] = form.format(first[error])
    if others:
        best = max(others, key=lambda row: row["clips_per_second"])
        found["theirs"] = f"{best['competitor'].partition(', then')[0]}: {best['clips_per_second']:,.0f}"
        found |= {key: value for key, value in against(first, best).items() if key in ("ours_against", "tie")}
    return [found]


_BUILDERS = {
    "log-mel": _log_mel,
    "augment": _augment,
    "pipeline": _pipeline,
    "start": _start,
    "files": _files,
    "training": _training,
}
