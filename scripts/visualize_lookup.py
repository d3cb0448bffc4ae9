"""Make a map of a lookup table: one page, without network, that shows which parameters sound alike and plays them.

python scripts/visualize_lookup.py data/synth/tables/fm3
python scripts/visualize_lookup.py data/synth/tables/fm3 --method tsne --features mfcc --colour pitch-Hz --out fm3.html

Open the page in a browser: the pointer or the arrow keys choose a point, a click or Enter plays it.
"""

from __future__ import annotations

import argparse
import functools
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.command_line import run_script
from audio_separation.envs.synth.table import LookupTable, check_table, load_table
from audio_separation.envs.synth.table_jobs import TableJob
from audio_separation.errors import UserError
from audio_separation.evaluation.synth.lookup_map import METHODS, lay_out, map_data, map_page, render_sounds
from audio_separation.scenes.layout import write_atomic

HOST = "127.0.0.1"


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("table", type=Path, metavar="DIR", help="folder of the lookup table, or a published CSV")
    add("--method", choices=METHODS, default="pca", help="(%(default)s)")
    text = "columns and categories that decide where a sound lies (%(default)s)"
    add("--features", nargs="+", metavar="NAME", default=["loudness", "mfcc", "specshape"], help=text)
    text = "descriptors that points can be coloured by, beside the parameters (%(default)s)"
    colours = ["loudness-dBFS", "specshape-centroid", "specshape-flatness"]
    add("--colour", nargs="+", metavar="NAME", default=colours, help=text)
    add("--out", type=Path, metavar="HTML", help="default: map.html beside the table")
    add("--sounds", type=int, default=400, metavar="N", help="rows whose sound is in the page (%(default)s)")
    add("--seconds", type=float, help="of these sounds; default: as in the table")
    add("--patch", type=Path, metavar="PD", help="the table's own synth.pd, where it has one")
    add("--source", type=Path, metavar="WAV", help="the sound that the table's granular played")
    text = "also serve the page to this machine's browsers, until stopped; 0: at any free port"
    add("--port", type=int, metavar="N", help=text)
    add("--overwrite", action="store_true", help="replace a page that is there")
    return parser.parse_args(argv)


def make_page(args: argparse.Namespace, table: LookupTable) -> str:
    """The map of ``table``, with its sounds."""
    layout = lay_out(table, args.method, args.features)
    sounds, labels, title = None, table.param_names, str(args.table)
    if args.sounds:
        job = TableJob.of_table(table, *(str(path) if path else None for path in (args.patch, args.source)))
        synth = job.build_synth()
        check_table(table, synth, table.num_params)
        seconds = job.seconds if args.seconds is None else args.seconds
        sounds = render_sounds(table, layout, synth, args.sounds, seconds)
        labels, title = synth.param_names, job.synth
    data = map_data(table, layout, args.colour, sounds, labels)
    return map_page(f"Sounds of {title}", data, layout.told)


class PageHandler(BaseHTTPRequestHandler):
    """Answers every address with the one page."""

    def __init__(self, page: bytes, *arguments):
        self.page = page
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *arguments) -> None:
        pass


def serve(page: bytes, port: int) -> None:
    """Serve the page until the process is stopped."""
    try:
        server = ThreadingHTTPServer((HOST, port), functools.partial(PageHandler, page))
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port} cannot be used ({error}); give another, or 0 for any") from None
    with server:
        print(f"http://{HOST}:{server.server_address[1]} until Ctrl-C", flush=True)
        server.serve_forever()


def work(args: argparse.Namespace) -> None:
    """Make the page, and serve it where that is asked for."""
    out = args.out or (args.table.parent if args.table.suffix == ".csv" else args.table) / "map.html"
    if out.exists() and not args.overwrite:
        raise UserError(f"{out} is there already; give --out another name, or add --overwrite")
    if args.sounds < 0 or (args.seconds is not None and not 0.02 <= args.seconds <= 60):
        raise UserError(
            f"--sounds must be 0 or more and --seconds from 0.02 to 60, found {args.sounds} and {args.seconds}"
        )
    page = make_page(args, load_table(args.table)).encode()
    write_atomic(out, page)
    print(f"{out}: {len(page) / 1e6:.1f} MB, open it in a browser")
    if args.port is not None:
        serve(page, args.port)


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    args = parse_arguments(argv)
    return run_script("visualize_lookup", lambda: work(args), "the page is written whole or not at all")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
