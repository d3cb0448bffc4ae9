"""One table of all agents, and the notebooks that show it."""

from __future__ import annotations

import json
import runpy
import shutil

import nbformat
import numpy as np
import pytest
from eval_fakes import load
from nbclient import NotebookClient
from small_config import REPO

from audio_separation.errors import UserError
from audio_separation.evaluation.merge import find_result, format_merged, merge_agents, merge_splits
from audio_separation.evaluation.stats import mean_ci


def test_script_merges_agents_and_splits(judged, tmp_path, capsys):
    out, table = tmp_path / "summary.json", tmp_path / "table.md"
    words = ["--out", str(out), "--table", str(table)]
    main = runpy.run_path(str(REPO / "scripts/summarise.py"))["main"]
    assert main([str(judged), *words]) == 0
    shown = capsys.readouterr().out
    merged = load(out)
    for title, split in (("heard", "testHeard"), ("unheard", "testUnheard")):
        methods = ["silence", "mixture", "passive", "refined", "refined_causal", "stand", "rotate", "random"]
        assert list(merged[title]) == methods
        for agent in ("stand", "rotate", "random"):
            own = load(find_result(judged, f"{split}_{agent}") / "summary.json")
            assert merged[title][agent] == own["methods"]["refined"]
        own = load(find_result(judged, f"{split}_policy") / "summary.json")
        assert merged[title]["passive"] == own["methods"]["passive"]
        assert merged["record"][title]["record"]["config"]["DATA.SPLIT"] == split
    assert "| stand |" in table.read_text() and "refined_causal" in shown
    assert main([str(judged), "--unheard", "", "--out", str(out)]) == 0
    assert "unheard" not in load(out)
    assert main([str(judged), "--heard", "testFar"]) == 2
    assert "error: " in capsys.readouterr().err


def test_paired_difference_is_over_episodes(judged):
    result = merge_agents(judged, "testHeard")
    means = {}
    for agent in ("policy", "rotate"):
        records = load(find_result(judged, f"testHeard_{agent}") / "episodes.json")["episodes"]
        means[agent] = np.array([np.mean(r["scores"]["refined"]["si_sdr_db"]) for r in records])
    expected = mean_ci((means["policy"] - means["rotate"]).tolist())
    found = result["paired"]["rotate"]["si_sdr_db"]
    assert found["mean"] == pytest.approx(expected.mean) and found["ci95"] == pytest.approx(expected.ci95)
    assert "policy - rotate" in format_merged(merge_splits(judged, {"heard": "testHeard"}), markdown=False)


def test_what_does_not_belong_together_is_refused(judged, tmp_path):
    shutil.copytree(judged / "eval", tmp_path / "eval")
    with pytest.raises(UserError, match=r"testFar_policy holds no results; make them: .* EVAL.AGENT policy"):
        merge_agents(tmp_path, "testFar")
    folder = find_result(tmp_path, "testHeard_random")
    summary = load(folder / "summary.json")
    (folder / "summary.json").write_text(json.dumps({**summary, "checkpoint_sha256": "0"}))
    with pytest.raises(UserError, match=r"evaluate both with the same EVAL.CHECKPOINT"):
        merge_agents(tmp_path, "testHeard")
    (folder / "summary.json").write_text(json.dumps(summary))
    episodes = load(folder / "episodes.json")
    (folder / "episodes.json").write_text(json.dumps({"episodes": episodes["episodes"][1:]}))
    with pytest.raises(UserError, match=r"are of other episodes"):
        merge_agents(tmp_path, "testHeard")
    shutil.copytree(folder, folder.with_name("ckpt.77"))
    with pytest.raises(UserError, match=r"results of 2 checkpoints and none is that of best.json"):
        find_result(tmp_path, "testHeard_random")


def test_notebooks_run_and_choose(judged, tmp_path, monkeypatch):
    """Both in one kernel, as starting one is the slow part."""
    for name in ("eval", "ckpt"):
        (tmp_path / name).symlink_to(judged / name)
    settings = {"MODEL_DIR": tmp_path, "METRIC": "si_sdr_db", "PROJECT_ROOT": REPO, "OMP_NUM_THREADS": 1}
    for key, value in settings.items():
        monkeypatch.setenv(key, str(value))
    both = nbformat.v4.new_notebook()
    for name in ("select_checkpoint.ipynb", "separation_quality.ipynb"):
        notebook = nbformat.read(REPO / "scripts" / name, as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells), (
            f"{name} should be stored without outputs"
        )
        both.cells += notebook.cells
    NotebookClient(
        both, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in both.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    text = "".join(output.get("text", "") for output in outputs)
    assert "unheard: 3 episodes of testUnheard" in text and "policy - stand" in text
    best = load(tmp_path / "best.json")
    assert best["metric"] == "si_sdr_db" and f"best: {best['checkpoint']}" in text
    assert best["value"] == max(c["value"] for c in best["candidates"])
    assert (tmp_path / "best.pth").resolve() == (tmp_path / best["checkpoint"]).resolve()
