"""The config tree: overlays, overrides and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_config import REPO

from audio_separation.config import default_config, get_config
from audio_separation.config.default import all_keys
from audio_separation.config.limits import CHOICES, LEAST, ORDERED
from audio_separation.errors import UserError


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_defaults_are_frozen_and_fresh():
    config = get_config()
    with pytest.raises(AttributeError):
        config.SEED = 3
    mutable = default_config()
    mutable.PPO.LR = 1.0
    assert default_config().PPO.LR == 1e-4


def test_the_published_sizes_are_the_defaults():  # DESIGN sections 6 and 7
    config = get_config()
    assert config.SEPARATOR.CHANNELS == [64, 128, 256, 512, 512] and config.MEMORY.SIZE == 20
    assert (config.PPO.CLIP, config.PPO.EPOCHS, config.PPO.MINIBATCHES) == (0.1, 4, 1)
    assert (config.PASSIVE.BATCH, config.PASSIVE.MAX_GRAD_NORM, config.NUM_PROCESSES) == (128, 0.8, 14)


@pytest.mark.parametrize(
    "path",
    # those in configs/habitat/ are habitat-lab's
    [p for p in sorted((REPO / "configs").rglob("*.yaml")) if p.parent.name != "habitat"],
    ids=lambda p: str(p.relative_to(REPO)),
)
def test_every_config_of_the_repository_loads(path):
    assert get_config(str(path)).is_frozen()


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("SEED", "3"), 3),
        (("PPO.LR", "1e-3"), 1e-3),
        (("PPO.LR", "1"), 1.0),
        (("VERBOSE", "False"), False),
        (("VERBOSE", "false"), False),
        (("SEPARATOR.CHANNELS", "[8, 16]"), [8, 16]),
        (("SEPARATOR.CHANNELS", "(8, 16)"), [8, 16]),
        (("EVAL.NAME", "2026"), "2026"),  # a word stays a word
        (("TRAIN.PASSIVE_CHECKPOINT", "runs/passive"), "runs/passive"),
        (("SEED", "1", "SEED", "2"), 2),
    ],
)
def test_words_of_the_command_line_take_the_type_of_the_key(words, value):
    node = get_config(None, words)
    for part in words[0].split("."):
        node = node[part]
    assert node == value and type(node) is type(value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("PPO.LEARNING_RATE", "1"), r"unknown config key PPO\.LEARNING_RATE in the command line"),
        (("ppo.lr", "1"), r"unknown config key ppo\.lr"),
        (("PP0.LR", "1"), r"near ones: PPO\.LR"),
        (("CHANNELS", "3"), r"near ones: .*MEMORY\.CHANNELS"),
        (("EPISODE_STEPS", "3"), r"TASK\.EPISODE_STEPS"),
        (("DATA", "3"), "unknown config key DATA "),
        (("XYZZY", "3"), r"config/default\.py lists all keys"),
        (("SEED", "three"), "SEED in the command line expects int such as 0, found 'three'"),
        (("SEED", "1.5"), "expects int"),
        (("SEED", "True"), "expects int"),
        (("SEED", "None"), "expects int"),
        (("PPO.LR", "fast"), "expects float such as 0.0001, found 'fast'"),
        (("SEPARATOR.CHANNELS", "8"), "expects list"),
        (("SEPARATOR.CHANNELS", "[8,"), "expects list"),
        (("VERBOSE", "1"), "expects bool"),
        (("SEED",), "KEY VALUE pairs, found 1 words: SEED"),
        (("SEED", "1", "PPO.LR"), "found 3 words"),
        (("NUM_PROCESSES", "0"), "NUM_PROCESSES must be at least 1, found 0"),
        (("SEED", "-1"), "SEED must be at least 0"),
        (("PPO.MINIBATCHES", "15"), "PPO.MINIBATCHES is 15, but may not exceed NUM_PROCESSES, which is 14"),
        (("MEMORY.SIZE", "10"), "MEMORY.LOSS_STEPS is 15, but may not exceed MEMORY.SIZE"),
        (("PASSIVE.LOSS", "l3"), "PASSIVE.LOSS must be one of l1, mse, found 'l3'"),
    ],
)
def test_wrong_words_are_refused_in_one_sentence(words, message):
    with pytest.raises(UserError, match=message) as caught:
        get_config(None, words)
    assert "\n" not in str(caught.value)


def test_limits_name_keys_that_exist_and_hold_for_the_defaults():
    named = {*LEAST, *CHOICES, *(key for pair in ORDERED for key in pair)}
    assert named <= set(all_keys(default_config()))
    get_config()


def test_yaml_overlays_base_first_then_itself_then_the_words(tmp_path):
    write(tmp_path, "base/a.yaml", "SEED: 1\nPPO:\n  LR: 1e-3\n  CLIP: 0.2\n")
    write(tmp_path, "base/b.yaml", "BASE: a.yaml\nSEED: 2\n")
    top = write(tmp_path, "top.yaml", "BASE: [base/b.yaml]\nPPO:\n  CLIP: 0.3\n")
    config = get_config(top, ["PPO.EPOCHS", "7"])
    assert (config.SEED, config.PPO.LR, config.PPO.CLIP, config.PPO.EPOCHS) == (2, 1e-3, 0.3, 7)
    # one base through two ways is no cycle
    write(tmp_path, "base/c.yaml", "BASE: a.yaml\nNUM_UPDATES: 3\n")
    assert get_config(write(tmp_path, "two.yaml", "BASE: [base/b.yaml, base/c.yaml]")).SEED == 1


def test_base_cycles_end(tmp_path):
    write(tmp_path, "a.yaml", "BASE: b.yaml")
    write(tmp_path, "b.yaml", "BASE: ./a.yaml")
    with pytest.raises(UserError, match="a.yaml names itself through BASE"):
        get_config(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PPO:\n  LRR: 1\n", r"unknown config key PPO\.LRR in .*x\.yaml; near ones: PPO\.LR"),
        ("SEED: many", "SEED in .*x.yaml expects int"),
        ("SEED:", "SEED in .*x.yaml expects int such as 0, found None"),
        ("SEED: {A: 1}", r"unknown config key SEED\.A"),
        ("PPO: 3", "unknown config key PPO "),
        ("a: [", "x.yaml is not readable YAML"),
        ("- 1\n- 2\n", "should hold KEY: value lines, found a list"),
        ("BASE: nowhere.yaml", "nowhere.yaml not found"),
        ("BASE: 3", "BASE should name one YAML file"),
        ("3: 4", "unknown config key 3 "),
        ("\udcff", "x.yaml is not readable YAML"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=message) as caught:
        get_config(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_lists_those_that_exist(monkeypatch):
    monkeypatch.chdir(REPO)
    with pytest.raises(UserError, match=r"train/near.yaml not found.*configs/train/near_target\.yaml"):
        get_config("train/near.yaml")


def test_a_dumped_config_reads_back_the_same(tmp_path):
    config = get_config(None, ["SEED", "5", "PPO.LR", "3e-4", "SEPARATOR.CHANNELS", "[4]"])
    again = get_config(write(tmp_path, "dump.yaml", config.dump()))
    assert yaml.safe_load(again.dump()) == yaml.safe_load(config.dump())
