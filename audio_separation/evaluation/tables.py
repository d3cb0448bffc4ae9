"""Tables of scores with confidence intervals, as text and as Markdown."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

METRIC_TITLES = {
    "stft_l2": "STFT-L2 (lower)",
    "si_sdr_db": "SI-SDR dB",
    "bin_si_sdr_db": "bin SI-SDR dB",
    "bin_si_sdr_improvement_db": "improvement dB",
    "si_sir_db": "SI-SIR dB",
    "si_sar_db": "SI-SAR dB",
    "sd_sdr_db": "SD-SDR dB",
    "snr_db": "SNR dB",
}


def format_estimate(score: Optional[Mapping[str, Any]], digits: int) -> str:
    """``mean ± ci95``; a dash where there is no score, the mean alone where one episode has no interval."""
    if score is None or score["mean"] is None:
        return "-"
    if score["ci95"] is None:
        return f"{score['mean']:.{digits}f}"
    return f"{score['mean']:.{digits}f} ± {score['ci95']:.{digits}f}"


def score_rows(methods: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Rows of a table, the header first: a method a row, a metric a column."""
    metrics = [metric for metric in METRIC_TITLES if any(metric in scores for scores in methods.values())]
    rows = [["method", *(METRIC_TITLES[metric] for metric in metrics)]]
    for method, scores in methods.items():
        rows.append([method, *(format_estimate(scores.get(m), 3 if m == "stft_l2" else 2) for m in metrics)])
    return rows


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned with spaces: the first to the left, the others to the right."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(w) if c == 0 else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    ruler = "|---|" + "---:|" * (len(rows[0]) - 1)
    return "\n".join([lines[0], ruler, *lines[1:]])
