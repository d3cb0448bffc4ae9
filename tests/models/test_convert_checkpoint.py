"""scripts/convert_checkpoint.py: from a file as torch 1.4 wrote it to scores, with the published outputs."""

from __future__ import annotations

import hashlib
import json
import runpy
from pathlib import Path

import pytest
import torch
from foreign_files import save, save_published
from small_config import REPO
from tiny import CLASSES, make_tiny_dataset

import main
from audio_separation.audio.clips import read_classes
from audio_separation.config import get_config
from audio_separation.errors import UserError
from audio_separation.evaluation.model import adopt_model_config, build_untrained, load_weights
from audio_separation.evaluation.results import identify
from audio_separation.evaluation.run import find_checkpoints
from audio_separation.evaluation.selection import best_checkpoint
from audio_separation.models.golden import golden_state, output_errors
from audio_separation.training.active import build_agent, load_separator
from audio_separation.training.checkpoint import load_checkpoint
from audio_separation.training.published import (
    AAVIDSS_CORPUS,
    MOVE2HEAR_CORPUS,
    Conversion,
    convert,
    corpus_of,
    take_settings,
    write_model_dir,
)
from audio_separation.training.run_dir import claim_run_dir

GOLDEN = Path(__file__).parent.parent / "golden"
CPU = torch.device("cpu")
AGENT_SETTINGS = {
    "SEED": 3,
    "ENV_NAME": "AAViDSSEnv",
    "NUM_PROCESSES": 14,
    "NUM_UPDATES": 67142,
    "CMD_TRAILING_OPTS": ["NUM_PROCESSES", "14"],
    "RL": {
        "PPO": {
            "lr_pol": 1e-4,
            "clip_param": 0.2,
            "deterministic_eval": False,
            "TRANSFORMER_MEMORY": {"memory_size": 19, "num_past_steps_refinement": 14, "nhead": 8},
        }
    },
    "TASK_CONFIG": {
        "ENVIRONMENT": {"MAX_EPISODE_STEPS": 20},
        "SIMULATOR": {"SCENE_DATASET": "mp3d", "AUDIO": {"GT_MONO_MAG_NORM": 1.2}},
    },
}
PASSIVE_SETTINGS = {
    "ENV_NAME": "AAViDSSEnv",
    "Pretrain": {"Passive": {"lr": 5e-4, "eps": 1e-5, "max_grad_norm": 0.8}},
    "TASK_CONFIG": {"SIMULATOR": {"AUDIO": {"GT_MONO_MAG_NORM": 1.2, "BATCH_SIZE": 96}}},
}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return golden_state(GOLDEN / "reference_state_dict.json")


@pytest.fixture(scope="module")
def agent_file(state, tmp_path_factory) -> Path:
    return save_published(tmp_path_factory.mktemp("agent") / "ckpt.57.pth", state, AGENT_SETTINGS)


@pytest.fixture(scope="module")
def passive_file(state, tmp_path_factory) -> Path:
    separators = {
        k: v for k, v in state.items() if k.startswith(("actor_critic.bin2mono", "actor_critic.binSep"))
    }
    return save_published(tmp_path_factory.mktemp("passive") / "best.pth", separators, PASSIVE_SETTINGS)


def aavidss_classes() -> list[str]:
    """Those of a corpus in a folder of the published name."""
    return read_classes(Path("nowhere") / AAVIDSS_CORPUS)[0]


def run_script(*words: object) -> int:
    return runpy.run_path(str(REPO / "scripts/convert_checkpoint.py"))["main"]([str(word) for word in words])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The tiny dataset with images of the published size."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny128"), image_size=128)


@pytest.fixture(scope="module")
def played(agent_file, data, tmp_path_factory) -> Path:
    """The converted agent for the tiny corpus, after an evaluation."""
    out = tmp_path_factory.mktemp("out") / "published"
    assert run_script(agent_file, "--out", out, "--classes", data.corpus_root / "classes.json") == 0
    settings = {
        "DATA.ROOT": data.data_root,
        "DATA.SOUND_SPACES": data.sound_spaces_root,
        "DATA.MAX_EPISODES": 1,
        "TASK.EPISODE_STEPS": 2,
        "NUM_PROCESSES": 1,
        "EVAL.REPORT_EPISODES": 0,
        "DEVICE": "cpu",
        "THREADS": 1,
    }
    words = [str(word) for pair in settings.items() for word in pair]
    config = str(REPO / "configs/test/near_target.yaml")
    arguments = ["--run-type", "eval", "--exp-config", config, "--model-dir", str(out), *words]
    assert main.main(arguments) == 0
    return out


def test_the_converted_agent_gives_the_published_outputs(agent_file, tmp_path):
    out = tmp_path / "published"
    write_model_dir(convert(agent_file), out)
    # the way of an evaluation
    config = get_config(str(REPO / "configs/test/near_target.yaml"))
    (path,) = find_checkpoints(config, out)
    content, checkpoint = load_checkpoint(path), identify(path, out)
    config = adopt_model_config(config, content, checkpoint)
    assert (config.AUDIO.MODE, config.SEPARATOR.VARIANT, config.MEMORY.OUTPUT) == ("paper", "paper", "direct")
    classes = aavidss_classes()
    assert len(classes) == 102
    agent = build_untrained(config, len(classes), CPU)
    load_weights(agent, config, content, checkpoint, classes)
    errors = output_errors(agent, GOLDEN / "networks.npz")
    assert len(errors) == 8
    for name, (error, largest) in errors.items():
        assert error < 1e-5 * largest, name


def test_an_evaluation_plays_it(played):
    summary = json.loads((played / "eval/testHeard_policy/ckpt.0/summary.json").read_text())
    assert summary["checkpoint"] == "ckpt/ckpt.0.pth" and summary["episodes"] == 1
    assert summary["record"]["config"]["AUDIO.MODE"] == "paper"
    assert summary["methods"]["refined"]["stft_l2"]["mean"] > 0


def test_the_records_say_where_it_came_from(agent_file, played, tmp_path):
    record = json.loads((played / "published.json").read_text())
    assert record["settings"] == AGENT_SETTINGS
    assert (
        record["source"]["file"] == "ckpt.57.pth" and record["source"]["bytes"] == agent_file.stat().st_size
    )
    assert record["source"]["sha256"] == hashlib.sha256(agent_file.read_bytes()).hexdigest()
    config = record["record"]["config"]
    taken = {"SEED": 3, "PPO.CLIP": 0.2, "NUM_UPDATES": 67142, "MEMORY.SIZE": 20, "MEMORY.LOSS_STEPS": 15}
    assert {key: config[key] for key in taken} == taken
    assert {"commit", "seed", "command", "torch"} <= record["record"].keys()
    # the config file is one that --exp-config takes
    assert get_config(str(played / "config.yaml")).PPO.CLIP == 0.2
    content = load_checkpoint(played / "ckpt/ckpt.0.pth")
    assert content["classes"] == CLASSES and content["config"]["PPO.CLIP"] == 0.2
    assert content["source"] == record["source"]


@pytest.mark.parametrize("which", ["passive", "agent"])
def test_separators_start_a_training(which, agent_file, passive_file, state, tmp_path):
    out = tmp_path / "passive"
    source = passive_file if which == "passive" else agent_file
    write_model_dir(convert(source, "passive"), out)
    config = get_config(
        str(REPO / "configs/train/near_target.yaml"),
        ["SEPARATOR.VARIANT", "paper", "MEMORY.OUTPUT", "direct", "POLICY.VISION", "none"],
    )
    classes = aavidss_classes()
    agent = build_agent(config, classes, CPU)
    load_separator(agent, out, classes, config)
    name = "actor_critic.bin2mono_dec.passive_sep_decoder.cnn.5.0.weight"
    torch.testing.assert_close(agent.separator.mono_unet.head.weight.data, state[name], rtol=0, atol=0)
    name = "actor_critic.binSep_enc.passive_sep_encoder.cnn.0.1.running_var"
    torch.testing.assert_close(agent.separator.bin_unet.encoder[0].norm.running_var, state[name])
    kept = load_checkpoint(out / "best.pth")["config"]
    assert kept["PASSIVE.BATCH"] == (96 if which == "passive" else 128) and kept["TRAINER"] == "passive"


def test_what_is_printed(agent_file, tmp_path, capsys):
    assert run_script(agent_file, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "agent, 190 tensors, 51.9 million numbers, 102 classes of libriSpeech100" in printed
    assert "RL.PPO.clip_param 0.2 -> PPO.CLIP\n" in printed
    assert "PPO.CLIP 0.2 (default: 0.1)" in printed and "AUDIO.MODE paper (default: causal)" in printed
    assert f"--model-dir {tmp_path / 'out'}" in printed
    # what this machine ran, no path of it in what is kept
    assert str(tmp_path) not in json.dumps(
        json.loads((tmp_path / "out/published.json").read_text())["source"]
    )


def test_settings_that_do_not_fit_are_left_out():
    odd = {
        "SEED": -1,
        "RL": {"PPO": {"clip_param": "high", "gamma": float("nan"), "eps": -1.0, "lr_pol": 1}},
        "TASK_CONFIG": {
            "SIMULATOR": {"SCENE_DATASET": "../elsewhere", "AUDIO": {"GT_MONO_MAG_NORM": 0.0}},
            "ENVIRONMENT": 5,
        },
    }
    config, settings = take_settings(odd, "passive")
    assert not any(setting.taken for setting in settings) and len(settings) == 3
    config, settings = take_settings(odd, "agent")
    assert {s.theirs for s in settings if s.taken} == {"RL.PPO.lr_pol"}
    assert config.PPO.LR == 1.0 and config.DATASET == "homes"
    assert len({s.theirs for s in settings if not s.taken}) == 6
    # no tensor's shape tells the number of heads
    config, _ = take_settings({"RL": {"PPO": {"TRANSFORMER_MEMORY": {"nhead": 4}}}}, "agent")
    assert config.MEMORY.HEADS == 4


def test_a_state_dict_alone_is_taken_for_aavidss(state, tmp_path, capsys):
    separators = {k: v for k, v in state.items() if ".bin2mono" in k or ".binSep" in k}
    path = save(tmp_path / "bare.pth", separators, legacy=False)
    assert run_script(path, "--out", tmp_path / "out") == 0
    assert "it holds no settings; the paper's are recorded" in capsys.readouterr().out


# ---- refusals -------------------------------------------------------------------------------------------------
def error_of(capsys, *words: object) -> str:
    capsys.readouterr()
    assert run_script(*words) == 2
    written = capsys.readouterr()
    assert written.err.startswith("convert_checkpoint: ") and written.err.count("\n") == 1
    assert "written:" not in written.out
    return written.err


def test_a_corpus_with_other_classes_is_told(agent_file, played, tmp_path):
    content = load_checkpoint(played / "ckpt/ckpt.0.pth")
    checkpoint = identify(played / "ckpt/ckpt.0.pth", played)
    config = get_config()
    agent = None
    with pytest.raises(UserError, match="trained on 4 classes that are not the corpus' 102"):
        load_weights(agent, config, content, checkpoint, aavidss_classes())  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"another order .*'music' there, 'esc' here.* classes\.json"):
        load_weights(agent, config, content, checkpoint, sorted(CLASSES))  # type: ignore[arg-type]


def test_move2hear(state, tmp_path, capsys):
    separators = {k: v for k, v in state.items() if ".bin2mono" in k or ".binSep" in k}
    memory = {"actor_critic.acoustic_mem.cnn.0.weight": torch.zeros(32, 32, 3, 3)}
    agent = save_published(tmp_path / "agent.pth", {**separators, **memory}, {})
    out = tmp_path / "out"
    assert "an agent of Move2Hear" in error_of(capsys, agent, "--out", out)
    assert "an agent of Move2Hear" in error_of(capsys, agent, "--out", out, "--kind", "agent")
    assert not out.exists()
    assert run_script(agent, "--out", out, "--kind", "passive") == 0
    assert f"DATA.CORPUS {MOVE2HEAR_CORPUS}" in capsys.readouterr().out
    content = load_checkpoint(out / "best.pth")
    assert content["kind"] == "passive" and len(content["separator"]) == len(separators)
    assert content["classes"] == read_classes(Path(MOVE2HEAR_CORPUS))[0]


def test_the_corpus_is_told_by_the_settings():
    def heard(key: str, folder: object) -> dict:
        return {"TASK_CONFIG": {"SIMULATOR": {"AUDIO": {key: folder}}}}

    clips = f"data/audio_data/{MOVE2HEAR_CORPUS}/train_preprocessed"
    assert corpus_of(heard("PASSIVE_TRAIN_AUDIO_DIR", clips), "passive") == MOVE2HEAR_CORPUS
    clips = f"data/audio_data/{AAVIDSS_CORPUS}/1s_chunks/train_preprocessed"
    assert corpus_of({**heard("MONO_DIR", clips), "ENV_NAME": "AAViSSEnv"}, "passive") == AAVIDSS_CORPUS
    assert corpus_of({"ENV_NAME": "AAViSSEnv"}, "passive") == MOVE2HEAR_CORPUS
    assert corpus_of({}, "move2hear") == MOVE2HEAR_CORPUS
    assert corpus_of({}, "agent") == corpus_of(heard("MONO_DIR", 7), "passive") == AAVIDSS_CORPUS


def test_files_that_do_not_fit(agent_file, passive_file, state, tmp_path, capsys):
    out = tmp_path / "out"
    assert "no agent; give --kind passive" in error_of(capsys, passive_file, "--out", out, "--kind", "agent")
    name = "actor_critic.audio_mem.transformer.norm.weight"
    short = save_published(tmp_path / "a.pth", {name: state[name]}, {})
    message = error_of(capsys, short, "--out", out)
    assert "0 unexpected tensors (nothing), 189 missing ones (our names: 'separator.bin_unet." in message
    other = save(tmp_path / "b.pth", {"state_dict": {"fc.weight": torch.zeros(2)}}, legacy=True)
    assert "of no system that is known here" in error_of(capsys, other, "--out", out)
    both = save(tmp_path / "b.pth", {"state_dict_nav": {}, "config_nav": {}}, legacy=True)
    assert "found one of 'state_dict_nav', 'config_nav'" in error_of(capsys, both, "--out", out)
    assert "not found" in error_of(capsys, tmp_path / "none.pth", "--out", out)
    words = (passive_file, "--out", out, "--classes")
    assert "cannot read" in error_of(capsys, *words, tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"classes": [1]}')
    assert "bad.json is malformed" in error_of(capsys, *words, tmp_path / "bad.json")
    assert not out.exists()


def small_conversion(kind: str) -> Conversion:
    name = "ckpt.1.pth"
    return Conversion(kind, {"w": torch.ones(2)}, ["a"], "", get_config(), [], {}, {"file": name})


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    out = tmp_path / "out"
    write_model_dir(small_conversion("passive"), out)
    before = (out / "best.pth").read_bytes()
    assert "give --overwrite" in error_of(capsys, "ckpt.1.pth", "--out", out)
    with pytest.raises(UserError, match="give --overwrite"):
        write_model_dir(small_conversion("active"), out)
    assert (out / "best.pth").read_bytes() == before and not (out / "best.json").exists()
    assert write_model_dir(small_conversion("active"), out, overwrite=True) == out / "ckpt/ckpt.0.pth"
    assert not (out / "best.pth").exists() and best_checkpoint(out) == out / "ckpt/ckpt.0.pth"
    write_model_dir(small_conversion("passive"), out, overwrite=True)
    assert (out / "best.pth").read_bytes() == before
    assert not (out / "ckpt/ckpt.0.pth").exists() and not (out / "best.json").exists()
    run = tmp_path / "run"
    run.mkdir()
    (run / "state.pth").write_bytes(b"of a training")
    for words in ((), ("--overwrite",)):
        assert "no converted checkpoint" in error_of(capsys, "ckpt.1.pth", "--out", run, *words)
    assert "is a file" in error_of(capsys, "ckpt.1.pth", "--out", run / "state.pth")


@pytest.mark.parametrize("kind", ["passive", "active"])
def test_a_training_does_not_take_the_folder_for_its_own(kind, tmp_path):
    write_model_dir(small_conversion(kind), tmp_path)
    with pytest.raises(UserError, match="holds files that are no run of ours"):
        claim_run_dir(tmp_path, get_config())
