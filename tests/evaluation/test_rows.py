"""Rows over episodes and seeds: their means and intervals, what they replace, and what they refuse to mix."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import t as student_t
from script_module import load_script
from small_config import REPO

from audio_separation.errors import UserError
from audio_separation.evaluation.families import AUDITION
from audio_separation.evaluation.figures import methods_figure
from audio_separation.evaluation.records import summarise_methods
from audio_separation.evaluation.rows import (
    COLUMNS,
    collect_rows,
    format_tables,
    merge_rows,
    parse_method,
    read_rows,
    seed_estimate,
)
from audio_separation.training.logging import read_metrics

CONFIG = {
    "SEED": 0,
    "THREADS": 0,
    "DATA.ROOT": "data",
    "DATA.CORPUS": "synthetic",
    "EVAL.EPISODES": 3,
    "EVAL.DETERMINISTIC": True,
    "EVAL.NAME": "",
    "AUDITION.STEP_M": 0.5,
    "AUDITION.QNET.HIDDEN": [8],
    "DQN.LR": 0.001,
}


def write_result(folder, steps, agent="policy", split="test", gamma=0.9, **changes):
    """Results with a number of steps for each episode."""
    methods = {agent: {"steps": None, "success": 1.0}, "mixture": {"si_sdr_db": -0.5}}
    episodes = [
        {
            "episode": n,
            "scores": {
                m: {k: s if k == "steps" else v for k, v in scores.items()} for m, scores in methods.items()
            },
        }
        for n, s in enumerate(steps)
    ]
    command = [
        "main.py",
        "--run-type",
        "eval",
        "--exp-config",
        "configs/audition/otoworld_test.yaml",
        "DATA.ROOT",
        "/a b",
        "SEED",
        "1",
    ]
    summary = {
        "task": "audition",
        "split": split,
        "sounds": f"{split}Unheard",
        "agent": agent,
        "checkpoint": "best.pth",
        "methods": summarise_methods(episodes),
        "trained_config": {"DQN.GAMMA": gamma, "SEED": folder.name} if agent == "policy" else None,
        "record": {
            "config": {**CONFIG, **{k.replace("__", "."): v for k, v in changes.items()}},
            "command": command,
        },
    }
    folder.mkdir(parents=True)
    (folder / "episodes.json").write_text(json.dumps({"episodes": episodes}))
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def row_of(rows, method, metric):
    (found,) = [row for row in rows if (row["method"], row["metric"]) == (method, metric)]
    return found


def test_three_seeds_count_as_three_witnesses():
    seeds = [[10, 20, 30], [11, 21, 31], [15, 25, 35]]
    mean, half = seed_estimate(seeds)
    means = np.array([20, 21, 25])
    assert mean == pytest.approx(22)
    assert half == pytest.approx(student_t.ppf(0.975, 2) * means.std(ddof=1) / np.sqrt(3))
    # twice the episodes of the same agents tell no more of the method
    assert seed_estimate([values * 2 for values in seeds])[1] == pytest.approx(half)


def test_fewer_seeds_have_an_interval_over_episodes():
    mean, half = seed_estimate([[1, 2, None], [3, 6]])
    pooled = np.array([1, 2, 3, 6])
    assert mean == pytest.approx((1.5 + 4.5) / 2)
    assert half == pytest.approx(student_t.ppf(0.975, 3) * pooled.std(ddof=1) / 2)
    assert seed_estimate([[None], []]) == (None, None)
    assert seed_estimate([[4]]) == (4, None)


def test_rows_of_methods_and_splits(tmp_path):
    for seed in range(3):
        run = tmp_path / f"oto{seed}"
        write_result(run / "eval/test_policy/best", [10 + seed, 20, 30], SEED=seed, EVAL__NAME=f"n{seed}")
        write_result(run / "eval/val_policy/best", [40, 40, 40], split="val", SEED=seed)
    write_result(tmp_path / "random", [50, 60, 70], agent="random", AUDITION__QNET__HIDDEN=[128])
    methods = [
        parse_method(f"DQN={','.join(str(tmp_path / f'oto{s}') for s in range(3))}"),
        ("random", [tmp_path / "random"]),
    ]
    rows = collect_rows(methods, None)
    assert all(tuple(row) == COLUMNS for row in rows)
    tested = [row for row in rows if row["split"] == "test_unheard"]
    steps = row_of(tested, "DQN", "steps")
    assert (steps["task"], steps["episodes"], steps["seeds"]) == ("otoworld", 9, 3)
    assert steps["mean"] == pytest.approx(20 + 1 / 3)
    assert steps["ci_high"] - steps["mean"] == pytest.approx(steps["mean"] - steps["ci_low"])
    assert row_of(tested, "random", "steps")["mean"] == 60 and row_of(tested, "random", "steps")["seeds"] == 1
    assert row_of(tested, "DQN", "mixture/si_sdr_db")["mean"] == -0.5
    assert row_of([r for r in rows if r["split"] == "val_unheard"], "DQN", "steps")["ci_low"] == 40
    assert steps["command"].split("; ")[0] == (
        "python main.py --run-type eval --exp-config configs/audition/otoworld_test.yaml SEED 1"
    )


def test_rows_of_the_same_name_are_replaced_and_others_kept():
    def row(method, mean):
        return {"task": "t", "split": "s", "method": method, "metric": "m", "mean": mean}

    merged = merge_rows([row("a", 1), row("b", 2)], [row("c", 5), row("b", 3)])
    assert [(r["method"], r["mean"]) for r in merged] == [("a", 1), ("b", 3), ("c", 5)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AUDITION__STEP_M": 1.0}, r"different tasks \(AUDITION.STEP_M is 0.5 and 1.0"),
        ({"EVAL__EPISODES": 4}, "EVAL.EPISODES is 3 and 4"),
        ({"DQN__LR": 0.1}, r"cannot both be DQN \(DQN.LR is 0.001 and 0.1"),
        ({"agent": "random"}, r"cannot both be DQN \(agent policy and random"),
        ({"EVAL__DETERMINISTIC": False}, "EVAL.DETERMINISTIC is True and False"),
        ({"gamma": 0.5}, "DQN.GAMMA is 0.9 and 0.5"),
    ],
)
def test_what_cannot_be_one_method_is_refused(tmp_path, changes, words):
    write_result(tmp_path / "a", [1, 2, 3])
    write_result(tmp_path / "b", [1, 2, 3], **changes)
    with pytest.raises(UserError, match=words):
        collect_rows([("DQN", [tmp_path / "a", tmp_path / "b"])], "task")


def test_methods_may_learn_otherwise_but_not_do_another_task(tmp_path):
    write_result(tmp_path / "a", [1, 2, 3])
    write_result(tmp_path / "b", [4, 5, 6], DQN__LR=0.1)
    write_result(tmp_path / "c", [4, 5, 6], AUDITION__STEP_M=0.25)
    assert len(collect_rows([("a", [tmp_path / "a"]), ("b", [tmp_path / "b"])], "task")) == 6
    with pytest.raises(UserError, match="different tasks"):
        collect_rows([("a", [tmp_path / "a"]), ("c", [tmp_path / "c"])], "task")


def test_a_missing_and_a_second_result_are_told(tmp_path):
    with pytest.raises(UserError, match="holds no results"):
        collect_rows([("a", [tmp_path])], "task")
    write_result(tmp_path / "run/eval/test_policy/ckpt.1", [1, 2, 3])
    write_result(tmp_path / "run/eval/test_policy/ckpt.2", [1, 2, 3])
    with pytest.raises(UserError, match="two results of test_unheard"):
        collect_rows([("a", [tmp_path / "run"])], "task")
    write_result(tmp_path / "half", [1, 2, 3], split="val")
    with pytest.raises(UserError, match="of 1 seeds out of 2"):
        collect_rows([("a", [tmp_path / "run/eval/test_policy/ckpt.1", tmp_path / "half"])], "task")
    for words in ("a", "=x", "a=", "a=x,,y"):
        with pytest.raises(UserError, match="expected name=dir1"):
            parse_method(words)


def test_the_script_collects_keeps_and_prints(tmp_path, capsys):
    script, out = load_script("results_table"), tmp_path / "results/audition.json"
    write_result(tmp_path / "a", [10, 20, 30])
    write_result(tmp_path / "b", [40, 50, 60], agent="random")
    assert script.main([str(out), "--collect", f"DQN={tmp_path / 'a'}"]) == 0
    assert script.main([str(out), "--collect", f"random={tmp_path / 'b'}"]) == 0
    collected = capsys.readouterr().out.split("**otoworld")[-1]
    rows = json.loads(out.read_text())
    assert {row["method"] for row in rows} == {"DQN", "random"}
    assert script.main([str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(collected)
    assert "| DQN | 100.0 [100.0, 100.0] | - | 20.0 [-4.8, 44.8] |" in printed
    assert script.main([str(out), "--collect", "random"]) == 2
    assert script.main([str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.count("results_table: ") == 2
    assert json.loads(out.read_text()) == rows


def test_the_figure_shows_every_seed_and_their_mean(tmp_path, capsys):
    script, out, png = load_script("results_table"), tmp_path / "rows.json", tmp_path / "docs/curves.png"
    folders = []
    for seed, last in enumerate((0.25, 0.75)):
        folder = tmp_path / str(seed)
        write_result(folder, [1, 2, 3], split="test")
        lines = [
            {"step": 4, "val/success": 0.0, "separator/si_sdr_improvement_db": 1.0},
            {"step": 6, "policy/loss": 1},
        ]
        lines += [{"step": 8, "val/success": last, "separator/si_sdr_improvement_db": 2.0 + seed}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        folders.append(str(folder))
    words = [str(out), "--figure", str(png), "--collect", f"DQN={','.join(folders)}"]
    assert script.main(words) == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    seeds = [read_metrics(tmp_path / str(seed) / "metrics.jsonl") for seed in (0, 1)]
    success, separation = methods_figure({"DQN": seeds}, AUDITION.curves).axes
    drawn = [line.get_ydata().tolist() for line in success.lines]
    assert drawn == [[0, 25], [0, 75], [0, 50]] and success.lines[2].get_xdata().tolist() == [4, 8]
    assert separation.lines[2].get_ydata().tolist() == [1, 2.5]
    write_result(tmp_path / "untrained", [1, 2, 3], agent="random")
    assert script.main([*words[:-1], f"random={tmp_path / 'untrained'}"]) == 2
    assert "no collected folder holds the metrics.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["audition", "synth", "step_signal"])
def test_the_tables_of_the_docs_are_those_of_the_results(name):
    rows = read_rows(REPO / f"results/{name}.json")
    assert format_tables(rows) in (REPO / f"docs/{name}.md").read_text()


def means_of(name):
    rows = read_rows(REPO / f"results/{name}.json")
    return {(row["task"], row["split"], row["method"], row["metric"]): row["mean"] for row in rows}


def test_the_readme_tells_the_results_of_audition():
    means = means_of("audition")
    line = "| OtoWorld's agent, separator by the reward alone | {:.0f} % | {:.0f} | {:.2f} dB |"
    keys = ("success", "steps", "first_si_sdr_improvement_db")
    success, steps, gain = (means["otoworld", "test_unheard", "separator by the reward", key] for key in keys)
    assert line.format(100 * success, steps, gain) in (REPO / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "task"),
    [("sine", "sine"), ("FM", "fm3"), ("FM with an amplitude", "fm4"), ("granular", "granular")],
)
@pytest.mark.parametrize(
    ("what", "split"),
    [
        ("recordings never heard", "test_corpus_rendered"),
        ("its own changing sounds", "test_dynamic_random_rendered"),
    ],
)
def test_the_readme_tells_the_results_of_synth(name, task, what, split):
    means = means_of("synth")
    shown = (f"{means[task, split, method, 'rmse']:.2f}" for method in ("hold", "random", "greedy", "PPO"))
    assert f"| {name}, {what} | {' | '.join(shown)} |" in (REPO / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "method"),
    [("untrained", "untrained"), ("random", "random"), ("DDPG", "DDPG"), ("DDPG + HER", "DDPG + HER")],
)
def test_the_readme_tells_the_results_of_the_step_signal(name, method):
    means = means_of("step_signal")
    success, rms = (means["step_signal", "test", method, key] for key in ("success", "final_rms"))
    assert f"| {name} | {100 * success:.0f} % | {rms:.2f} |" in (REPO / "README.md").read_text()
