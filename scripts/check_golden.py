"""Compare our networks, renderer and metrics with the recorded outputs of the published code.

    python scripts/check_golden.py tests/golden

Prints a table; exits with 1 when an error is past its tolerance, with 2 when a file is missing or foreign.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Callable, Optional, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a clone, without installation

from audio_separation.audio.golden import Deviation, load_golden, metric_errors, observation_errors
from audio_separation.errors import UserError
from audio_separation.models.golden import network_errors

NETWORK_TOLERANCE = 1e-4  # of an output's largest value
_NETWORK_KEYS = (
    "mixed_bin_audio_mag",
    "target_class",
    "memory_mono",
    "bin_masks",
    "mono",
    "refined_last",
    "logits",
)


def check_networks(folder: Path) -> dict[str, Deviation]:
    """Compare the networks with ``networks.npz``, filled as ``reference_state_dict.json`` says."""
    archive, names = folder / "networks.npz", folder / "reference_state_dict.json"
    load_golden(archive, _NETWORK_KEYS)
    if not names.is_file():
        raise UserError(f"{names} is missing: point to a folder with the golden files, such as tests/golden")
    errors = network_errors(archive, names)
    return {name: Deviation(error, NETWORK_TOLERANCE * largest) for name, (error, largest) in errors.items()}


def compare_all(folder: Path) -> dict[str, dict[str, Deviation]]:
    """Run the three comparisons; files that do not fit our code raise UserError, nothing else."""
    checks: dict[str, Callable[[], dict[str, Deviation]]] = {
        "networks": lambda: check_networks(folder),
        "observation": lambda: observation_errors(folder / "observation.npz"),
        "metrics": lambda: metric_errors(folder / "metrics.npz"),
    }
    results = {}
    for name, check in checks.items():
        try:
            results[name] = check()
        except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise UserError(
                f"the golden files of {name!r} in {folder} do not fit ({error!r}): copy them anew"
            ) from None
    return results


def report(groups: dict[str, dict[str, Deviation]]) -> bool:
    """Print the table; return whether every error is within its tolerance (NaN is not)."""
    all_good = True
    print(f"{'output':<32} {'largest error':>14} {'tolerance':>12}")
    for group, rows in groups.items():
        for name, (error, tolerance) in rows.items():
            good = math.isfinite(error) and error <= tolerance
            all_good = all_good and good
            print(f"{group + '/' + name:<32} {error:>14.3e} {tolerance:>12.3e}  {'ok' if good else 'FAIL'}")
    return all_good


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Parse the command line, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, help="with networks.npz, reference_state_dict.json, observation.npz, metrics.npz"
    )
    folder = parser.parse_args(arguments).folder
    try:
        groups = compare_all(folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    all_good = report(groups)
    print(
        "metrics/*_si_sir: the published value has no interference term; both are compared as 'beyond 120 dB'"
    )
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main())
