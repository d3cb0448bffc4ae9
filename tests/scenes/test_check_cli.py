"""The command line of the data check: statuses, text and JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jsonschema_rs
import pytest
from published import make_published_tree
from script_module import load_script

from audio_separation.scenes.layout import DatasetPaths

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_data.py"
FINDING = {
    "type": "object",
    "required": ["kind", "severity", "scene", "where", "what", "items", "count"],
    "additionalProperties": False,
    "properties": {
        **{key: {"type": "string"} for key in ("kind", "scene", "where", "what")},
        "severity": {"enum": ["fault", "note"]},
        "items": {"type": "array", "items": {"type": "string"}},
        "count": {"type": "integer", "minimum": 1},
    },
}
SCENE = {
    "type": "object",
    "required": ["split", "nodes", "edges", "views", "datapoints", "episodes", "bytes", "faults", "notes"],
    "properties": {
        "wav_responses": {"type": "integer"},
        "wav_rates_hz": {"type": "object", "additionalProperties": {"type": "integer"}},
        "packed_responses": {"type": "integer"},
        "view_pixels": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        "bytes": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["format", "version", "dataset", "quick", "sound", "faults", "notes", "free_bytes"],
    "properties": {
        "format": {"const": "audio_separation/check_data"},
        "version": {"const": 1},
        "sound": {"type": "boolean"},
        "scenes": {"type": "object", "additionalProperties": SCENE},
        "kinds": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["severity", "meaning", "cure", "count"],
            },
        },
        "findings": {"type": "array", "items": FINDING},
    },
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("check_data")


@pytest.fixture
def homes(tiny: DatasetPaths, tmp_path: Path) -> Path:
    shutil.copytree(tiny.data_root.parent, tmp_path / "homes")
    return tmp_path / "homes"


def words(root: Path, *more: str) -> list[str]:
    return ["--data", str(root / "data"), "--sound-spaces", str(root / "sound_spaces"), "--jobs", "1", *more]


def test_sound(script: ModuleType, homes: Path, capsys: pytest.CaptureFixture) -> None:
    assert script.main(words(homes)) == 0
    out = capsys.readouterr().out
    assert "FAULTS" not in out and "mesh-missing: 3 in 3 scenes" in out
    head, first = out.splitlines()[:2]
    assert head.split()[:4] == ["scene", "split", "nodes", "packed"]
    assert first.split()[:4] == ["tiny_000", "train", "6", "144"]
    assert out.rstrip().endswith("no faults, 3 notes")


def test_faults(script: ModuleType, homes: Path, capsys: pytest.CaptureFixture) -> None:
    graph = homes / "sound_spaces" / "metadata" / "homes" / "tiny_001" / "graph.pkl"
    graph.write_bytes(graph.read_bytes()[:20])
    clip = homes / "data" / "audio_data" / "synthetic" / "min20s_clips" / "train_preprocessed" / "music_x.wav"
    clip.write_bytes(b"")
    report = homes / "out" / "report.json"
    assert script.main(words(homes, "--json", str(report))) == 1
    written = capsys.readouterr()
    assert "Traceback" not in written.out + written.err
    lines = written.out.splitlines()
    at = lines.index("  graph-unreadable: 1 in 1 scene - graphs that are truncated or corrupt")
    assert str(graph) in lines[at + 1] and "truncated or corrupt" in lines[at + 1]
    assert lines[at + 2].startswith("    cure: delete ") and "generate_homes.py --out" in lines[at + 2]
    at = lines.index("  clip-unreadable: 1 - clips that are empty, truncated, corrupt or no WAV files")
    assert lines[at + 1] == f"    {clip.parent}: music_x.wav: is empty (0 bytes), expected a WAV file"
    assert lines[-1] == "2 faults, 3 notes"
    tree = json.loads(report.read_text())
    jsonschema_rs.validate(SCHEMA, tree)
    assert tree["faults"] == 2 and not tree["sound"] and tree["kinds"]["clip-unreadable"]["count"] == 1
    assert tree["scenes"]["tiny_001"]["faults"] == 1 and tree["scenes"]["tiny_000"]["faults"] == 0
    assert [f["where"] for f in tree["findings"] if f["severity"] == "fault"] == [
        str(graph),
        str(clip.parent),
    ]


def test_long_lists_are_cut_in_the_text_only(
    script: ModuleType, homes: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = homes / "data" / "audio_data" / "synthetic" / "min20s_clips" / "train_preprocessed"
    for i in range(5):
        (folder / f"music_x{i}.wav").write_bytes(b"")
    report = homes / "report.json"
    assert script.main(words(homes, "--quick", "--json", str(report))) == 1
    out = capsys.readouterr().out
    assert f"{folder}: music_x0.wav, music_x1.wav, music_x2.wav and 2 more: is empty" in out
    assert "(samples not read: --quick)" in out
    (finding,) = [f for f in json.loads(report.read_text())["findings"] if f["kind"] == "clip-unreadable"]
    assert finding["items"] == [f"music_x{i}.wav" for i in range(5)] and finding["count"] == 5


@pytest.mark.parametrize(
    "more, message",
    [
        (["--scenes", "attic"], "--scenes attic: no file below"),
        (["--dataset", "replica", "--passive", "x", "--active", "x"], "nothing of dataset replica is below"),
        (["--jobs", "0"], "--jobs 0: expected a number of processes"),
        (["--data", "nowhere"], "nowhere is no folder; --data names the folder"),
    ],
)
def test_mistakes(
    script: ModuleType, homes: Path, capsys: pytest.CaptureFixture, more: list[str], message: str
) -> None:
    assert script.main(words(homes, *more)) == 2
    written = capsys.readouterr().err
    assert written.startswith("check_data: ") and message in written and written.count("\n") == 1


def test_only_an_earlier_report_is_replaced(
    script: ModuleType, homes: Path, capsys: pytest.CaptureFixture
) -> None:
    classes = homes / "data" / "audio_data" / "synthetic" / "classes.json"
    before = classes.read_bytes()
    assert script.main(words(homes, "--quick", "--json", str(classes))) == 2
    assert "something is there that is no report of this script" in capsys.readouterr().err
    assert classes.read_bytes() == before
    report = homes / "report.json"
    for _ in range(2):
        assert script.main(words(homes, "--quick", "--json", str(report))) == 0
    assert json.loads(report.read_text())["quick"] is True


def test_names_come_from_the_datasets_config(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    paths = make_published_tree(tmp_path, "replica", meshes=True, image_size=8)
    assert paths.passive_version == "replica_v1"
    assert script.main(words(tmp_path, "--dataset", "replica", "--quick")) == 0
    assert "3 scenes of the 18 of replica, 432 WAV responses" in capsys.readouterr().out
    assert script.main(words(tmp_path, "--dataset", "replica", "--quick", "--passive", "v7")) == 1
    assert "passive_datasets/v7: no such folder; there: replica_v1" in capsys.readouterr().out


def test_interrupt(
    script: ModuleType, homes: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("audio_separation.scenes.check.run.list_corpus", stop)
    assert script.main(words(homes)) == 130
    assert "check_data: stopped" in capsys.readouterr().err


def test_processes_make_no_difference(script: ModuleType, homes: Path, tmp_path: Path) -> None:
    rirs = homes / "sound_spaces" / "binaural_rirs" / "homes"
    (rirs / "tiny_001.safetensors").unlink()
    (rirs / "tiny_000" / "90").mkdir(parents=True)
    reports = [tmp_path / "one.json", tmp_path / "two.json"]
    assert script.main(words(homes, "--json", str(reports[0]))) == 1
    command = [sys.executable, str(SCRIPT), *words(homes, "--json", str(reports[1]), "--jobs", "2")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "rirs-absent: 1 in 1 scene" in done.stdout, done.stderr
    one, two = (json.loads(path.read_text()) for path in reports)
    assert one.pop("free_bytes") > 0 and two.pop("free_bytes") > 0
    assert one == two
