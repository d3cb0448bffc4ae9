"""compute_lookup, analyze_corpus and visualize_lookup from the command line: options, errors, signals, processes."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
import soundfile
from script_module import load_script
from small_config import REPO

from audio_separation.audio.descriptors import NAMES
from audio_separation.envs.synth.corpus import load_corpus
from audio_separation.envs.synth.table import load_table

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(script, *words):
    command = [sys.executable, str(REPO / "scripts" / f"{script}.py"), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)


def run(script, *words, status=0):
    """Run in this process, and return what was printed, or the error where another status is expected."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert load_script(script).main([str(word) for word in words]) == status, err.getvalue()
    return out.getvalue() if status == 0 else err.getvalue()


def error_of(script, *words):
    err = run(script, *words, status=2)
    assert err.startswith(f"{script}: ") and err.count("\n") == 1, err
    return err


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table") / "sine"
    words = ["--SYNTH_NAME", "sine", "--N_PARAMS", 2, "--SUBDIV", 5, "--WINDOW_SIZE", 512, "--seconds", 0.1]
    assert "25 rows of 2 parameters" in run("compute_lookup", *words, "--jobs", 1, "--out", folder)
    return folder


def test_published_spellings_mean_the_same_options(table, tmp_path):
    words = ["--synth", "sine", "--N_params", 2, "--subdivisions", 5, "--window", 512, "--seconds", 0.1]
    run("compute_lookup", *words, "--jobs", 1, "--out", tmp_path)
    assert load_table(tmp_path).hash == load_table(table).hash
    settings = load_table(table).settings
    assert (settings["window"], settings["hop"], settings["subdivisions"]) == (512, 256, 5)
    out = run("compute_lookup", *words, "--out", tmp_path)
    assert "finished before, kept" in out
    assert "window is 512 there, 1024 now" in error_of(
        "compute_lookup", *words, "--window", 1024, "--out", tmp_path
    )


def test_a_killed_computation_goes_on_and_ends_in_the_bytes_of_any_number_of_processes(tmp_path):
    words = ["--synth", "fm4", "--subdivisions", 4, "--seconds", 0.25]
    process = start("compute_lookup", *words, "--jobs", 1, "--out", tmp_path / "cut")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cut").glob(".parts/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "cut" / "lookup_table.csv").exists()
    run("compute_lookup", *words, "--jobs", 2, "--out", tmp_path / "cut")
    run("compute_lookup", *words, "--jobs", 1, "--out", tmp_path / "whole")
    for name in ("lookup_table.csv", "lookup_table.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "cut" / ".parts").exists()


def test_ctrl_c_ends_all_processes(tmp_path):
    process = start("compute_lookup", "--synth", "fm3", "--subdivisions", 21, "--jobs", 2, "--out", tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".parts/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (
        process.returncode == 130 and "run the same command again to go on" in err and "Traceback" not in err
    )


def test_mistakes_are_one_sentence(table, tmp_path):
    out = ["--out", tmp_path / "x"]
    assert "--params 3" in error_of("compute_lookup", "--synth", "sine", "--params", 3, *out)
    assert "organ" in error_of("compute_lookup", "--synth", "organ", *out)
    assert "--jobs must be" in error_of("compute_lookup", "--synth", "sine", "--jobs", 0, *out)
    assert "--patch" in error_of("compute_lookup", "--synth", "sine", "--patch", "a.pd", *out)
    assert "is no folder" in error_of("analyze_corpus", tmp_path / "none", *out)
    assert "no lookup table" in error_of("visualize_lookup", tmp_path)
    assert "--sounds must be" in error_of("visualize_lookup", table, "--sounds", -1, *out)
    assert not (tmp_path / "x").exists()


def test_a_corpus_from_the_command_line(tmp_path):
    (tmp_path / "audio").mkdir()
    for i in range(3):
        wave = 0.1 * np.random.default_rng(i).normal(size=9000)
        soundfile.write(tmp_path / "audio" / f"take_{i}.wav", wave, 22050)
    (tmp_path / "audio" / "bad.wav").write_text("no sound")
    words = [tmp_path / "audio", "--rate", 22050, "--WINDOW_SIZE", 512, "--held-out", 0.3]
    one = ["--jobs", 1, "--out", tmp_path / "c1"]
    assert "bad.wav: cannot be decoded" in error_of("analyze_corpus", *words, *one)
    out = run("analyze_corpus", *words, *one, "--skip-broken")
    assert "train: 2 files" in out and "test: 1 files" in out and "left out 1:" in out and "bad.wav" in out
    run("analyze_corpus", *words, "--jobs", 2, "--out", tmp_path / "c2", "--skip-broken")
    for path in (tmp_path / "c1").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "c2" / path.relative_to(tmp_path / "c1")).read_bytes()
    assert load_corpus(tmp_path / "c1", "test").names == NAMES
    assert "finished before, kept" in run("analyze_corpus", *words, *one, "--skip-broken")
    assert "other settings" in error_of("analyze_corpus", *words, *one, "--seed", 4)


def test_a_map_from_the_command_line_and_its_server(table, tmp_path):
    out = tmp_path / "map.html"
    words = [table, "--features", "mfcc", "loudness", "--sounds", 3, "--out", out]
    run("visualize_lookup", *words)
    first = out.read_bytes()
    assert b"Sounds of sine" in first and first.count(b"data:audio/wav") == 3
    assert "is there already" in error_of("visualize_lookup", *words)
    run("visualize_lookup", *words, "--overwrite")
    assert out.read_bytes() == first
    process = start("visualize_lookup", *words, "--overwrite", "--port", 0)
    try:
        process.stdout.readline()
        address = process.stdout.readline().split()[0]
        assert urllib.request.urlopen(address, timeout=20).read() == first
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 143


def test_the_map_of_a_published_table_and_a_taken_port(table, tmp_path):
    published = tmp_path / "published.csv"
    published.write_bytes((table / "lookup_table.csv").read_bytes())
    assert "does not say which synthesizer" in error_of("visualize_lookup", published)
    run("visualize_lookup", published, "--sounds", 0)
    assert "This page holds no sounds." in (tmp_path / "map.html").read_text()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = [published, "--sounds", 0, "--out", tmp_path / "b.html", "--port", port]
        assert f"--port {port} cannot be used" in error_of("visualize_lookup", *words)
