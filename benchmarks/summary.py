"""The table that the README shows: each speed beside the best baseline of the same run, and what it was bought with."""

from benchmarks.tables import TableForm

FORM = TableForm(
    "Against the best baseline of the same run",
    (
        ("what", "", "{}"),
        ("ours", "ser_gpu", "{}"),
        ("theirs", "best baseline", "{}"),
        ("ratio", "times as fast", "{:.1f}"),
        ("error", "error of ser_gpu", "{}"),
    ),
)


def rows(result: dict) -> list[dict]:
    """Rows of the table, for the subjects that were measured."""
    return [row for name, build in _BUILDERS.items() if name in result for row in build(result[name]["tables"])]


def _frontend(tables: dict) -> list[dict]:
    error = next(row["error_db"] for row in tables["n_fft"] if row["n_fft"] == 1024)
    best = [
        {"competitor": row.pop("competitor"), "clips_per_second": max(row.values())}
        for row in map(dict, tables["batch"])
    ]
    row = _against("log-mel, n_fft 1024, each at its best batch", best)
    return [row | {"error": f"{error:.0e} dB"}]


def _augment(tables: dict) -> list[dict]:
    rows = tables["pitch_shift"]
    pitch = _against("pitch shift, one thread", rows, "error_cents")
    pitch["error"] = f"{pitch['error']:.2f} cents"
    return [pitch, _against("trim, pitch, stretch, noise, log-mel", tables["chain_processes"])]


def _pipeline(tables: dict) -> list[dict]:
    table = tables["waveform_to_probabilities"]
    compiled = [row for row in table if row["competitor"].endswith("compiled")]
    rows = [_against("waveform to probabilities", table, "error")]
    if compiled:
        what = "the same after `model.compile()`, CNN in bfloat16"
        rows.append(_against(what, [*compiled, *table], "error"))
    return [row | {"error": f"{row['error']:.0e}"} for row in rows]


def _training(tables: dict) -> list[dict]:
    return [_against("training, augmented", [r for r in tables["epoch"] if "augmented" in r["competitor"]])]


def _latency(tables: dict) -> list[dict]:
    return [{"what": "one clip, waveform to label", "ours": f"{tables['clip'][0]['median_ms']:.1f} ms"}]


def _files(tables: dict) -> list[dict]:
    row = _against("many files to labels, start included", tables["process"], "error")
    return [row | {"error": f"{row['error']:.0e}"}]


def _against(what: str, table: list[dict], error: str | None = None) -> dict:
    """The first row, ours, against the fastest baseline."""
    ours = table[0]
    others = [row for row in table if not row["competitor"].startswith("ser_gpu")]
    best = max(others, key=lambda row: row["clips_per_second"])
    return {
        "what": what,
        "ours": f"{ours['clips_per_second']:,.0f} clips/s",
        "theirs": f"{best['competitor'].partition(', then')[0]}: {best['clips_per_second']:,.0f}",
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
