"""Evaluation of the audition tasks from the command line: which checkpoints, which agent, and where results go.

Results lie in ``model_dir/eval/<EVAL.NAME or split_agent>/<checkpoint>/``; of the scripted agents, which need no
checkpoint, ``<checkpoint>`` is the agent's name.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Optional, Sequence

from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.evaluation.adopt import adopt_keys
from audio_separation.evaluation.audition.agents import (
    AGENTS,
    Actor,
    OracleActor,
    PolicyActor,
    RandomActor,
)
from audio_separation.evaluation.audition.report import write_audition_report
from audio_separation.evaluation.audition.results import build_summary, find_result
from audio_separation.evaluation.audition.rollout import Slot, open_slots, play_episodes, record_episode
from audio_separation.evaluation.audition.scores import SeparationKeeper
from audio_separation.evaluation.records import read_records
from audio_separation.evaluation.report_parts import spread
from audio_separation.evaluation.results import Checkpoint, identify, results_folder, write_results
from audio_separation.evaluation.selection import judged_checkpoints
from audio_separation.evaluation.tables import format_estimate, text_table
from audio_separation.models.audition.agent import AuditionAgent
from audio_separation.models.audition.build import build_agent
from audio_separation.training.checkpoint import load_checkpoint, restore
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import Progress, StopRequest, plain_config

TRAIN = "configs/audition/otoworld.yaml"
# keys that an evaluation keeps for itself although they lie in the section AUDITION: of the machine, or of a training
OWN_KEYS = ("AUDITION.CACHE_MB", "AUDITION.SEPARATOR.CHECKPOINT", "AUDITION.PRETRAIN.")
NETWORKS = ("AUDITION.SOURCES", "AUDITION.POSE", "AUDITION.ACTIONS", "AUDITION.SEPARATOR.", "AUDITION.QNET.")
SHOWN = (
    "success",
    "found_fraction",
    "steps",
    "spl",
    "reward",
    "first_si_sdr_improvement_db",
    "si_sdr_improvement_db",
)


def evaluate_audition(config: CfgNode, model_dir: Path, world: World, stop: StopRequest) -> int:
    """Play ``EVAL.EPISODES`` episodes of ``DATA.SPLIT`` with each checkpoint that ``EVAL.CHECKPOINT`` names.

    A finished result of the same config and checkpoint is kept, not computed again.

    Returns:
        The exit status: 0, or that of the signal that stopped it (the checkpoint under way leaves nothing).

    Raises:
        UserError: for a missing model dir or checkpoint, one that does not fit, bad settings or data.
    """
    _check(config, world)
    scripted = config.EVAL.AGENT != "policy"
    paths = [None] if scripted else judged_checkpoints(config.EVAL.CHECKPOINT, model_dir, TRAIN)
    for number, path in enumerate(paths, start=1):
        count = f"{number}/{len(paths)} " if len(paths) > 1 else ""
        label = f"evaluate {count}{config.EVAL.AGENT if path is None else path.stem}"
        if not Evaluation(config, model_dir, world, path).run(stop, label):
            return stop.exit_code
    return 0


class Evaluation:
    """One agent and its results.

    Args:
        path: of the checkpoint; None for a scripted agent.
    """

    def __init__(self, config: CfgNode, model_dir: Path, world: World, path: Optional[Path]):
        self.dir, self.world, self.config = model_dir, world, config
        self.content: Optional[dict[str, Any]] = None  # of the checkpoint
        if path is None:
            name = config.EVAL.AGENT
            self.checkpoint = Checkpoint(Path(name), name, hashlib.sha256(name.encode()).hexdigest())
        else:
            self.checkpoint = identify(path, model_dir)
            self.content = load_checkpoint(path)
            self.config = adopt_config(config, self.content, path)
        self.folder = results_folder(model_dir, self.config, self.checkpoint)

    def run(self, stop: StopRequest, label: str) -> bool:
        """Play, score, write and show what is not there yet; False where it was stopped."""
        config = self.config
        summary = find_result(self.folder, config, self.checkpoint)
        lacks_report = config.EVAL.REPORT_EPISODES > 0 and not (self.folder / "report/report.html").exists()
        if summary is not None:
            print(f"{label}: finished before, kept: {self.folder}/summary.json", flush=True)
            if not lacks_report:
                return True
        slots = open_slots(config, min(config.NUM_PROCESSES, config.EVAL.EPISODES))
        agent = self._load_agent(slots[0])
        if summary is None:
            summary = self._play(slots, agent, stop, label)
            if summary is None:
                return False
        if lacks_report:
            records = spread(read_records(self.folder), config.EVAL.REPORT_EPISODES)
            recordings = [record_episode(slots[0], record, agent, self.world.device) for record in records]
            write_audition_report(self.folder / "report", recordings, config, summary, self.dir)
        _show(summary, self.folder)
        return True

    def _play(
        self, slots: Sequence[Slot], agent: Optional[AuditionAgent], stop: StopRequest, label: str
    ) -> Optional[dict[str, Any]]:
        config = self.config
        keeper = SeparationKeeper(config, agent.separator if agent is not None else None, self.world.device)
        progress = Progress(label, "episodes", config.EVAL.EPISODES, 0, config.VERBOSE)
        actor = _actor_of(config, agent, slots[0])
        records = play_episodes(slots, range(config.EVAL.EPISODES), actor, keeper, stop, progress)
        if records is None:
            return None
        trained = self.content["config"] if self.content is not None else None
        summary = build_summary(records, config, self.checkpoint, trained)
        names = {str(a): name for a, (name, _, _) in enumerate(slots[0].env.world.actions)}
        write_results(self.folder, records, summary, names)
        return summary

    def _load_agent(self, slot: Slot) -> Optional[AuditionAgent]:
        if self.content is None:
            return None
        agent = build_agent(self.config, len(slot.env.world.actions)).to(self.world.device).eval()
        try:
            restore(agent, self.content, "agent", self.checkpoint.path)
        except UserError as error:
            own, stored = plain_config(self.config), self.content["config"]
            other = [k for k in own if k.startswith(NETWORKS) and k in stored and own[k] != stored[k]]
            if not other:
                raise
            shown = "; ".join(f"{k} is {own[k]!r} here, {stored[k]!r} in the checkpoint" for k in other[:3])
            raise UserError(f"{error} ({shown})") from None
        return agent


def adopt_config(config: CfgNode, content: dict[str, Any], path: Path) -> CfgNode:
    """The evaluation's config with the task and the networks that the checkpoint was trained with.

    A key of the section AUDITION that the evaluation does not set, in its YAML or on the command line, is taken from
    the config stored in the checkpoint.

    Raises:
        UserError: for a checkpoint of another kind.
    """
    if content.get("kind") != "dqn" or not isinstance(content.get("config"), dict):
        raise UserError(
            f"checkpoint {path} is of kind {content.get('kind')!r}, expected one of TRAINER dqn; give its model dir"
        )
    merged = adopt_keys(config, content["config"], ("AUDITION.",), OWN_KEYS)
    merged.defrost()
    merged.AUDITION.SEPARATOR.CHECKPOINT = ""  # all weights are in this one
    merged.freeze()
    return merged


def _check(config: CfgNode, world: World) -> None:
    if config.EVAL.AGENT not in AGENTS:
        raise UserError(f"EVAL.AGENT is {config.EVAL.AGENT!r}; expected one of {', '.join(AGENTS)}")
    if config.EVAL.EPISODES < 1:
        raise UserError(f"EVAL.EPISODES must be at least 1, found {config.EVAL.EPISODES}")
    if world.size > 1:
        raise UserError(
            f"TASK.NAME audition is evaluated by one process, found {world.size}; start it without torchrun "
            "(NUM_PROCESSES environments are played side by side)"
        )


def _actor_of(config: CfgNode, agent: Optional[AuditionAgent], slot: Slot) -> Actor:
    if agent is not None:
        return PolicyActor(config, agent)
    if config.EVAL.AGENT == "oracle":
        return OracleActor()
    return RandomActor(config, len(slot.env.world.actions))


def _show(summary: dict[str, Any], folder: Path) -> None:
    methods = summary["methods"]
    shown = [metric for metric in SHOWN if any(metric in scores for scores in methods.values())]
    rows = [["method", *shown]]
    rows += [
        [method, *(format_estimate(s.get(m), 3 if m == "spl" else 2) for m in shown)]
        for method, s in methods.items()
    ]
    print(
        f"\n{summary['agent']}, {summary['checkpoint']}, {summary['episodes']} episodes of {summary['split']}"
    )
    print(text_table(rows))
    print(f"mean ± half width of the 95 % confidence interval over episodes; {folder}", flush=True)
