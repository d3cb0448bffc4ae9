"""Evaluation of the tasks of control from the command line: which checkpoints, which agent, where results go.

Results lie in ``model_dir/eval/<EVAL.NAME or split_agent>/<checkpoint>/``; of the scripted agents, which need no
checkpoint, ``<checkpoint>`` is the agent's name.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Optional, Sequence

from yacs.config import CfgNode

from audio_separation.config.default import chosen_keys
from audio_separation.envs.control import build_control_env
from audio_separation.errors import UserError
from audio_separation.evaluation.adopt import NETWORK_KEYS, adopt_keys
from audio_separation.evaluation.control.kits import Kit, kit_of
from audio_separation.evaluation.control.play import Actor, Slot, learnt, play, scripted
from audio_separation.evaluation.records import read_records, summarise_methods
from audio_separation.evaluation.report_parts import spread
from audio_separation.evaluation.results import (
    AUDITION_SECTIONS,
    CONTROL_SECTIONS,
    FREE_EVAL_SECTIONS,
    Checkpoint,
    find_finished,
    identify,
    results_folder,
    write_results,
)
from audio_separation.evaluation.selection import judged_checkpoints
from audio_separation.evaluation.tables import format_estimate, text_table
from audio_separation.training.checkpoint import load_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import Progress, StopRequest, plain_config, run_record

EXPERIMENTS = {"synth": "configs/synth/fm3.yaml", "step_signal": "configs/step_signal/ddpg.yaml"}


def evaluate_control(config: CfgNode, model_dir: Path, world: World, stop: StopRequest) -> int:
    """Play ``EVAL.EPISODES`` episodes of ``DATA.SPLIT`` with each checkpoint that ``EVAL.CHECKPOINT`` names.

    A finished result of the same config and checkpoint is kept, not computed again.

    Returns:
        The exit status: 0, or that of the signal that stopped it (the checkpoint under way leaves nothing).

    Raises:
        UserError: for a missing model dir or checkpoint, one that does not fit, bad settings or data.
    """
    kit = kit_of(config.TASK.NAME)
    _check(config, kit, world)
    paths: Sequence[Optional[Path]] = [None]
    if config.EVAL.AGENT == "policy":
        paths = judged_checkpoints(config.EVAL.CHECKPOINT, model_dir, EXPERIMENTS[config.TASK.NAME])
    for number, path in enumerate(paths, start=1):
        count = f"{number}/{len(paths)} " if len(paths) > 1 else ""
        label = f"evaluate {count}{config.EVAL.AGENT if path is None else path.stem}"
        if not Evaluation(config, kit, model_dir, world, path).run(stop, label):
            return stop.exit_code
    return 0


class Evaluation:
    """One agent and its results.

    Args:
        path: of the checkpoint; None for a scripted agent.
    """

    def __init__(self, config: CfgNode, kit: Kit, model_dir: Path, world: World, path: Optional[Path]):
        self.config, self.kit, self.dir, self.world = config, kit, model_dir, world
        self.content: Optional[dict[str, Any]] = None  # of the checkpoint
        if path is None:
            name = config.EVAL.AGENT
            self.checkpoint = Checkpoint(Path(name), name, hashlib.sha256(name.encode()).hexdigest())
        else:
            # the library is needed by agents that it has trained, not by scripted ones
            from audio_separation.training.sb3.bundle import check_bundle

            self.checkpoint = identify(path, model_dir)
            self.content = load_checkpoint(path)
            check_bundle(self.content, path, config.TASK.NAME)
            stored = self.content["config"]
            self.config = adopt_keys(config, stored, kit.sections, kit.own, NETWORK_KEYS)
            own, chosen = plain_config(config), chosen_keys(config)
            for key in NETWORK_KEYS:
                if key in chosen and key in stored and own[key] != stored[key]:
                    print(f"note: {key} is the checkpoint's, {stored[key]!r}, not {own[key]!r}", flush=True)
        self.folder = results_folder(model_dir, self.config, self.checkpoint)

    def run(self, stop: StopRequest, label: str) -> bool:
        """Play, score, write and show what is not there yet; False where it was stopped."""
        config = self.config
        free = (
            *FREE_EVAL_SECTIONS,
            *AUDITION_SECTIONS[:-1],
            *(s for s in CONTROL_SECTIONS if s not in self.kit.sections),
        )
        summary = find_finished(
            self.folder, config, self.checkpoint, free, NETWORK_KEYS if self.content else ()
        )
        lacks_report = config.EVAL.REPORT_EPISODES > 0 and not (self.folder / "report/report.html").exists()
        if summary is not None:
            print(f"{label}: finished before, kept: {self.folder}/summary.json", flush=True)
            if not lacks_report:
                return True
        count = min(config.NUM_PROCESSES, config.EVAL.EPISODES)
        slots = [Slot(build_control_env(config, config.DATA.SPLIT)) for _ in range(count)]
        if summary is None:
            summary = self._play(slots, stop, label)
            if summary is None:
                return False
        if lacks_report:
            records = spread(read_records(self.folder), config.EVAL.REPORT_EPISODES)
            env = slots[0].env.unwrapped
            self.kit.report(self.folder / "report", env, records, config, summary, self.dir)
        self._show(summary)
        return True

    def _play(self, slots: Sequence[Slot], stop: StopRequest, label: str) -> Optional[dict[str, Any]]:
        config, agent = self.config, self.config.EVAL.AGENT
        progress = Progress(label, "episodes", config.EVAL.EPISODES, 0, config.VERBOSE)
        records = play(
            slots,
            range(config.EVAL.EPISODES),
            config.SEED,
            self._actor(slots[0]),
            lambda env, trajectory: self.kit.record(env, trajectory, agent),
            stop,
            progress,
        )
        if records is None:
            return None
        summary = {
            "task": config.TASK.NAME,
            "split": config.DATA.SPLIT,
            "sounds": config.DATA.SOUNDS,
            "agent": agent,
            "checkpoint": self.checkpoint.name,
            "checkpoint_sha256": self.checkpoint.sha256,
            "episodes": len(records),
            "methods": summarise_methods(records),
            "record": run_record(config),
            "trained_config": self.content["config"] if self.content else None,
        }
        write_results(self.folder, records, summary, {})
        return summary

    def _actor(self, slot: Slot) -> Actor:
        if self.content is None:
            return scripted(self.kit.agents[self.config.EVAL.AGENT])
        from audio_separation.training.sb3.bundle import load_policy

        env, path = slot.env, self.checkpoint.path
        self._check_table(slot)
        try:
            policy = load_policy(
                self.config, self.content, path, env.observation_space, env.action_space, self.world.device
            )
        except UserError as error:
            own, stored = plain_config(self.config), self.content["config"]
            other = [
                k for k in own if k.startswith(self.kit.sections) and k in stored and own[k] != stored[k]
            ]
            if not other:
                raise
            shown = "; ".join(f"{k} is {own[k]!r} here, {stored[k]!r} in the checkpoint" for k in other[:3])
            raise UserError(f"{error} ({shown})") from None
        return learnt(policy)

    def _check_table(self, slot: Slot) -> None:
        """What the agent hears is scaled by its lookup table: by another one it would hear other numbers."""
        sounds = (self.content or {}).get("sounds")
        if sounds is None:
            return
        found = slot.env.unwrapped.world.table.hash  # type: ignore[attr-defined]
        if sounds["table_hash"] != found:
            raise UserError(
                f"checkpoint {self.checkpoint.path} was trained with the lookup table {sounds['table_hash'][:12]}, "
                f"found {found[:12]}; give that one (SYNTH.TABLE), or compute it again with its settings "
                f"{sounds['table_settings']}"
            )

    def _show(self, summary: dict[str, Any]) -> None:
        methods = summary["methods"]
        shown = [metric for metric in self.kit.shown if any(metric in s for s in methods.values())]
        rows = [["method", *shown]]
        rows += [[method, *(format_estimate(s.get(m), 3) for m in shown)] for method, s in methods.items()]
        count = f"{summary['episodes']} episodes of {summary['split']}"
        print(f"\n{summary['agent']}, {summary['checkpoint']}, {count}")
        print(text_table(rows))
        print(f"mean ± half width of the 95 % confidence interval over episodes; {self.folder}", flush=True)


def _check(config: CfgNode, kit: Kit, world: World) -> None:
    agents = ("policy", *kit.agents)
    if config.EVAL.AGENT not in agents:
        raise UserError(f"EVAL.AGENT is {config.EVAL.AGENT!r}; expected one of {', '.join(agents)}")
    if not config.EVAL.DETERMINISTIC:
        raise UserError(
            f"EVAL.DETERMINISTIC False is not offered for TASK.NAME {config.TASK.NAME}: results would depend on how "
            "many environments are played side by side; leave it True"
        )
    if world.size > 1:
        raise UserError(
            f"TASK.NAME {config.TASK.NAME} is evaluated by one process, found {world.size}; start it without torchrun "
            "(NUM_PROCESSES environments are played side by side)"
        )
