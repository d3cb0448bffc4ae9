"""Parity with the published simulator and metrics, and the script that reports it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from script_module import load_script

from audio_separation.audio.golden import metric_errors, observation_errors
from audio_separation.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests" / "golden"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    return folder


def change(path: Path, **arrays: np.ndarray) -> None:
    with np.load(path) as archive:
        data = dict(archive)
    np.savez(path, **{**data, **arrays})


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("check_golden")


def test_renderer_reproduces_the_published_observation() -> None:
    errors = observation_errors(GOLDEN / "observation.npz")
    assert set(errors) == {
        "mix_logmag",
        "mix_stft",
        "target_bin_mag",
        "target_mono_mag",
        "target_mono_stft",
    }
    for name, (error, tolerance) in errors.items():
        assert error <= tolerance, name


def test_metrics_reproduce_the_published_ones() -> None:
    errors = metric_errors(GOLDEN / "metrics.npz")
    assert len(errors) == 12
    for name, (error, tolerance) in errors.items():
        assert error <= tolerance, name


@pytest.mark.parametrize("name", ["rir0", "clip1", "mixed_bin_audio_mag", "gt_bin_mag"])
def test_observation_check_can_fail(copy: Path, name: str) -> None:
    path = copy / "observation.npz"
    with np.load(path) as archive:
        changed = archive[name] * 0.98
    change(path, **{name: changed.astype(np.int16) if name.startswith("clip") else changed})
    assert any(error > tolerance for error, tolerance in observation_errors(path).values())


def test_script_passes_on_our_copies(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([str(GOLDEN)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(" ok") for line in lines) == 8 + 5 + 12
    assert not any("FAIL" in line for line in lines)


def test_script_fails_past_a_tolerance(
    script: ModuleType, copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # the networks take seconds, and have failing tests of their own: one of them is past its tolerance here
    monkeypatch.setattr(script, "network_errors", lambda *_: {"mono": (2e-4, 1.0), "value": (0.0, 1.0)})
    change(copy / "metrics.npz", refined_si_sdr=np.array(39.42), mono_snr=np.array(np.nan))
    assert script.main([str(copy)]) == 1
    failed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.endswith("FAIL")]
    assert failed == ["networks/mono", "metrics/mono_snr", "metrics/refined_si_sdr"]


def test_script_names_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "check_golden.py"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and "networks.npz is missing" in result.stderr


@pytest.mark.parametrize("name, check", [("observation", observation_errors), ("metrics", metric_errors)])
def test_foreign_files_are_refused(copy: Path, name: str, check) -> None:
    path = copy / f"{name}.npz"
    shutil.copy(copy / "networks.npz", path)
    with pytest.raises(UserError, match=f"{name}.npz is another kind of file"):
        check(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=f"{name}.npz is not a readable npz file"):
        check(path)
    path.unlink()
    with pytest.raises(UserError, match=f"{name}.npz is missing"):
        check(path)


def test_arrays_of_another_shape_end_in_one_sentence(
    script: ModuleType, copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "network_errors", lambda *_: {})
    change(copy / "observation.npz", gt_mono_mag=np.zeros((3, 5), np.float32))
    assert script.main([str(copy)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "golden files of 'observation'" in message
