"""What all reports share: a folder that appears whole, a page, its tables, and sound files with one gain."""

from __future__ import annotations

import html
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Sequence, TypeVar

import numpy as np
import soundfile

from audio_separation.training.run_dir import writing

Item = TypeVar("Item")
PEAK = 0.9  # of full scale, of the loudest of the files that share a gain
STYLE = """
body { font-family: sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: left; }
img { max-width: 100%; display: block; margin: 1rem 0; }
code { background: #f3f3f3; padding: .1rem .3rem; }
"""


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most ``count`` of ``items``, evenly spread."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``folder`` when the block ends without an error.

    Raises:
        UserError: where it cannot be written.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with writing(folder):
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)


def write_sounds(folder: Path, waves: Mapping[str, np.ndarray], rate_hz: int) -> None:
    """Write ``[C, L]`` waves as 16-bit WAV files; one gain brings the loudest of them to ``PEAK``."""
    peak = max(float(np.abs(wave).max()) for wave in waves.values())
    for name, wave in waves.items():
        # soundfile wants [L, C]
        soundfile.write(folder / name, wave.T * (PEAK / max(peak, 1e-6)), rate_hz, subtype="PCM_16")


def html_page(title: str, body: str, style: str = "") -> str:
    """A page of its own; ``title`` is escaped, ``body`` is HTML."""
    title = html.escape(title)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>{STYLE}{style}</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table, the header first."""
    cells = "\n".join(
        "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in zip(["th"] + ["td"] * len(rows), rows)
    )
    return f"<table>{cells}</table>"


def html_pictures(names: Iterable[str]) -> str:
    """Pictures by their names, under each other."""
    return "\n".join(f'<img src="{html.escape(name)}" alt="{html.escape(name)}">' for name in names)


def html_record(record: Mapping[str, Any]) -> str:
    """Where a result comes from (``run_record``)."""
    return (
        f"<h2>Record</h2>\n<p>Commit <code>{html.escape(record['commit'])}</code>, seed {record['seed']},\n"
        f"command <code>{html.escape(' '.join(record['command']))}</code></p>"
    )
