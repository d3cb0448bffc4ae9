"""The model dir: whose it is, its records, progress and stopping."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest
from small_config import small_config

from audio_separation.errors import UserError
from audio_separation.training import run_dir
from audio_separation.training.logging import MetricWriter, read_metrics
from audio_separation.training.run_dir import Progress, StopRequest, claim_run_dir


@pytest.fixture
def claimed(tiny, tmp_path):
    """A model dir that holds a run with a checkpoint."""
    path = tmp_path / "run"
    assert claim_run_dir(path, small_config(tiny)) is False
    (path / "state.pth").write_bytes(b"weights")
    return path


def test_the_record_says_what_ran(tiny, claimed):
    record = json.loads((claimed / "run.json").read_text())
    assert record["seed"] == 0 and record["config"]["SEPARATOR.CHANNELS"] == [8] * 5
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|unknown", record["commit"])
    # config.yaml can be given to --exp-config again
    assert "CHANNELS:" in (claimed / "config.yaml").read_text()


def test_the_same_experiment_resumes_whatever_does_not_change_it(tiny, claimed):
    before = (claimed / "run.json").read_text()
    again = small_config(
        tiny,
        THREADS=3,
        NUM_PROCESSES=8,
        VERBOSE=False,
        EVAL__AGENT="rotate",
        TRAIN__SAVE_EVERY=7,
        DATA__ROOT="/moved",
    )
    assert claim_run_dir(claimed, again) is True
    assert (claimed / "run.json").read_text() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SEED": 1}, "SEED is 0 there, 1 now"),
        ({"PPO__LR": 0.5}, r"PPO\.LR is 0\.0001 there, 0\.5 now"),
        ({"SEPARATOR__CHANNELS": "[4,4]"}, r"SEPARATOR\.CHANNELS is \[8, 8, 8, 8, 8\] there, \[4, 4\] now"),
        ({"TRAINER": "passive"}, "TRAINER is 'active' there, 'passive' now"),
    ],
)
def test_another_experiment_is_refused_by_its_keys(tiny, claimed, changes, message):
    before = sorted(p.name for p in claimed.iterdir())
    with pytest.raises(UserError, match=f"holds another experiment .{message}.*give another --model-dir"):
        claim_run_dir(claimed, small_config(tiny, **changes))
    assert sorted(p.name for p in claimed.iterdir()) == before


def test_a_key_younger_than_the_run_counts_as_its_default(tiny, claimed):
    record = json.loads((claimed / "run.json").read_text())
    del record["config"]["PPO.GAMMA"]
    (claimed / "run.json").write_text(json.dumps(record))
    assert claim_run_dir(claimed, small_config(tiny)) is True
    with pytest.raises(UserError, match=r"PPO\.GAMMA is 0\.99 there, 0\.9 now"):
        claim_run_dir(claimed, small_config(tiny, PPO__GAMMA=0.9))


def test_a_run_that_learnt_nothing_gives_its_place_away(tiny, claimed):
    (claimed / "state.pth").unlink()
    (claimed / "metrics.jsonl").write_text('{"step": 1}\n')  # killed before the first save
    assert claim_run_dir(claimed, small_config(tiny, SEED=1)) is False
    assert json.loads((claimed / "run.json").read_text())["seed"] == 1


def test_a_checkpoint_in_a_folder_below_counts_too(tiny, claimed):
    (claimed / "ckpt").mkdir()
    (claimed / "state.pth").rename(claimed / "ckpt" / "ckpt.5.pth")
    with pytest.raises(UserError, match="another experiment"):
        claim_run_dir(claimed, small_config(tiny, SEED=1))


def test_foreign_files_are_refused_and_kept(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"no run of ours \(thesis.tex\)"):
        claim_run_dir(tmp_path, small_config(tiny))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "thesis.tex").rename(tmp_path / ".hidden")  # hidden files are nobody's run
    (tmp_path / "eval").mkdir()  # a scripted agent was scored here before
    assert claim_run_dir(tmp_path, small_config(tiny)) is False


def test_a_file_as_model_dir_is_refused(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="file"):
            claim_run_dir(path, small_config(tiny))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tiny, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot write .*Permission denied"):
        claim_run_dir(tmp_path / "locked" / "run", small_config(tiny))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": 3}', '{"commit": "x"}'])
def test_damaged_record(tiny, claimed, text):
    (claimed / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        claim_run_dir(claimed, small_config(tiny))


def test_writer_drops_what_a_killed_run_wrote_later(tmp_path):
    lines = '{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n{"step": 3, "a": 3}\n{"step": 4, "a'
    (tmp_path / "metrics.jsonl").write_text(lines)
    writer = MetricWriter(tmp_path, 2, enabled=True)
    assert [m["step"] for m in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]
    writer.write(3, {"a": 3.5}, {"time/x": 1.0})
    writer.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 1, "a": 1},
        {"step": 2, "a": 2},
        {"step": 3, "a": 3.5},
    ]
    assert read_metrics(tmp_path / "timing.jsonl") == [{"step": 3, "time/x": 1.0}]
    assert list((tmp_path / "tb").iterdir())


def test_writer_of_the_other_ranks_writes_nothing(tmp_path):
    writer = MetricWriter(tmp_path / "run", 0, enabled=False)
    writer.write(1, {"a": 1.0})
    writer.close()
    assert not (tmp_path / "run").exists()


def test_writer_on_a_full_disk_is_a_user_error(tmp_path):
    writer = MetricWriter(tmp_path, 0, enabled=True)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match="cannot write .*No space left.*run the same command again"):
        writer.write(1, {"a": 1.0})


def test_progress_counts_from_where_it_resumed(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(run_dir.time, "monotonic", lambda: now[0])
    progress = Progress("train", "updates", total=50, done=10, enabled=True)
    now[0] = 104.0
    assert progress.rate(20) == pytest.approx(2.5)
    progress.line(20, reward=-1.0)
    assert capsys.readouterr().out == ""  # too soon
    now[0] = 112.0
    progress.line(34, reward=-1.25)
    assert capsys.readouterr().out == "train 34/50 updates  2.0/s  left 0.1 min  reward -1.25\n"
    now[0] = 113.0
    progress.line(50)
    assert "50/50" in capsys.readouterr().out  # the end is always told
    Progress("train", "updates", 1, 0, enabled=False).line(1)
    assert capsys.readouterr().out == ""


@pytest.fixture
def handlers():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(s) for s in numbers]
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_a_signal_becomes_a_request_and_its_echo_is_no_second_one(handlers, number, code):
    stop = StopRequest()
    assert stop.signal is None
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)  # torchrun passes on what the terminal has sent to all
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.signal == number and stop.exit_code == code


def test_a_later_signal_kills(handlers):
    child = os.fork()
    if child == 0:
        stop = StopRequest()
        os.kill(os.getpid(), signal.SIGINT)
        stop._time -= 10  # ten seconds ago
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
