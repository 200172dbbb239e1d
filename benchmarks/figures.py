"""The figures of the benchmarks, drawn from their JSON."""

from matplotlib.figure import Figure

from ser_gpu.timeline.plot import styled

_STYLES = {  # Okabe and Ito's palette, and a marker each
    "ser_gpu": ("#0072B2", "o", 2.4),
    "torchaudio": ("#009E73", "s", 1.2),
    "nnAudio": ("#D55E00", "^", 1.2),
    "flashmel": ("#CC79A7", "D", 1.2),
    "librosa": ("#000000", "x", 1.2),
}


@styled()
def by_batch(log_mel: dict) -> Figure:
    """Log-mel clips a second against the batch, every competitor, under the device's ceiling.

    Args:
        log_mel: the subject's part of a result file.
    """
    tables, where = log_mel["tables"], log_mel["environment"]
    figure = Figure(figsize=(7.2, 4.8))
    axes = figure.subplots()
    for row in tables["batch"]:
        name, _, compiled = row["competitor"].partition(", ")
        colour, marker, width = _STYLES[name]
        sizes = [int(key) for key in row if key.isdecimal()]
        axes.plot(
            sizes,
            [row[str(size)] for size in sizes],
            color=colour,
            marker=marker,
            linestyle=":" if compiled else "-",
            linewidth=width,
            label=row["competitor"],
        )
    (limit,) = (row["clips_per_second"] for row in tables["ceiling"] if row["n_fft"] == 1024)
    axes.axhline(limit, color="#666666", linestyle="--", label="ceiling (bytes and FLOP)")
    axes.set_xscale("log", base=4)
    axes.set_yscale("log")
    ticks = [4**k for k in range(7)]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set(
        xlabel="clips in a batch",
        ylabel="3-second clips a second",
        title=f"Log-mel spectrograms, n_fft 1024, one thread\n({where['device_name']}, torch {where['torch']})",
    )
    axes.grid()
    figure.legend(loc="outside lower center", ncols=4)
    return figure
