"""The table that the README shows: each speed beside the best baseline of the same run, and what it was bought with."""

from benchmarks.tables import TableForm

FORM = TableForm(
    "Against the best baseline of the same run",
    (
        ("what", "", "{}"),
        ("ours", "ser_gpu", "{}"),
        ("baseline", "baseline", "{}"),
        ("theirs", "baseline's", "{}"),
        ("ratio", "times as fast", "{:.1f}"),
        ("error", "error of ser_gpu", "{}"),
    ),
)


def rows(result: dict) -> list[dict]:
    """Rows of the table, for the subjects that were measured."""
    return [row for name, build in _BUILDERS.items() if name in result for row in build(result[name]["tables"])]


def _frontend(tables: dict) -> list[dict]:
    rows = []
    for library in ("librosa", "nnAudio"):
        at_1024 = [row for row in tables["n_fft"] if row["n_fft"] == 1024]
        row = _against(
            "log-mel, n_fft 1024, one thread", at_1024, lambda name, of=library: name.split(",")[0] == of, "error_db"
        )
        rows.append(row | {"error": f"{row['error']:.0e} dB"})
    return rows


def _augment(tables: dict) -> list[dict]:
    rows = tables["pitch_shift"]
    pitch = _against("pitch shift, one thread", rows, lambda name: name == "torch-audiomentations", "error_cents")
    pitch["error"] = f"{pitch['error']:.2f} cents"
    return [pitch, _against("trim, pitch, stretch, noise, log-mel, one thread", tables["chain"], lambda name: True)]


def _pipeline(tables: dict) -> list[dict]:
    row = _against("waveform to probabilities", tables["waveform_to_probabilities"], lambda name: True, "error")
    return [row | {"error": f"{row['error']:.0e}"}]


def _training(tables: dict) -> list[dict]:
    return [
        _against("training, augmented", [r for r in tables["epoch"] if "augmented" in r["competitor"]], lambda n: True)
    ]


def _latency(tables: dict) -> list[dict]:
    base, ours = tables["process"]
    samples = tables["clip"][0]
    return [
        {"what": "one clip, waveform to label", "ours": f"{samples['median_ms']:.1f} ms"},
        {
            "what": "predict.py as a process, start included",
            "ours": f"{ours['median_ms'] / 1000:.2f} s",
            "baseline": "import torch alone",
            "theirs": f"{base['median_ms'] / 1000:.2f} s",
        },
    ]


def _files(tables: dict) -> list[dict]:
    row = _against("many files to labels, start included", tables["process"], lambda name: True, "error")
    return [row | {"error": f"{row['error']:.0e}"}]


def _against(what: str, table: list[dict], is_asked_for, error: str | None = None) -> dict:
    """The first row, ours, against the fastest baseline that is asked for."""
    ours = table[0]
    others = [row for row in table if not row["competitor"].startswith("ser_gpu") and is_asked_for(row["competitor"])]
    best = max(others, key=lambda row: row["clips_per_second"])
    return {
        "what": what,
        "ours": f"{ours['clips_per_second']:,.0f} clips/s",
        "baseline": best["competitor"],
        "theirs": f"{best['clips_per_second']:,.0f} clips/s",
        "ratio": ours["clips_per_second"] / best["clips_per_second"],
        "error": ours[error] if error else None,
    }


_BUILDERS = {
    "frontend": _frontend,
    "augment": _augment,
    "pipeline": _pipeline,
    "latency": _latency,
    "files": _files,
    "training": _training,
}
