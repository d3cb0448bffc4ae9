"""Evaluation from the command line: which checkpoints, where the results go, and choosing the best.

``main.py --run-type eval`` ends here. Results lie in
``model_dir/eval/<EVAL.NAME or split_agent>/<checkpoint>/``: ``episodes.json`` (every score of every second),
``summary.json`` (means with 95 % confidence intervals and the record of the run) and ``report/`` (pictures and
sounds of ``EVAL.REPORT_EPISODES`` episodes). The audition tasks and those of control have evaluations of their own,
``evaluation/audition/run.py`` and ``evaluation/control/run.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from yacs.config import CfgNode

from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.control import TASKS as CONTROL_TASKS
from audio_separation.envs.simulator import BatchSimulator
from audio_separation.evaluation.episodes import check_settings, plan_rounds, play_episodes
from audio_separation.evaluation.model import adopt_model_config, build_untrained, load_weights
from audio_separation.evaluation.report import write_report
from audio_separation.evaluation.results import (
    build_summary,
    find_finished,
    identify,
    results_folder,
    write_results,
)
from audio_separation.evaluation.selection import (
    best_checkpoint,
    check_metric,
    choose_best,
    named_checkpoint,
    numbered_checkpoints,
)
from audio_separation.evaluation.tables import format_estimate, score_rows, text_table
from audio_separation.models.agent import Agent
from audio_separation.training import distributed
from audio_separation.training.checkpoint import link_best, load_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import StopRequest, writing


def evaluate(config: CfgNode, model_dir: str, world: World, stop: StopRequest) -> int:
    """Evaluate what ``EVAL.CHECKPOINT`` names; after ``all`` with the policy, link the best as ``best.pth``.

    A finished result of the same config and checkpoint is kept, not computed again.

    Returns:
        The exit status: 0, or that of the signal that stopped it (the checkpoint under way leaves nothing).

    Raises:
        UserError: for a missing model dir or checkpoint, one that does not fit, bad settings or data.
    """
    if config.TASK.NAME == "audition":
        # imported here: it needs pyroomacoustics, which no other task does
        from audio_separation.evaluation.audition.run import evaluate_audition

        return evaluate_audition(config, Path(model_dir), world, stop)
    if config.TASK.NAME in CONTROL_TASKS:
        from audio_separation.evaluation.control.run import evaluate_control

        return evaluate_control(config, Path(model_dir), world, stop)
    return Evaluation(config, Path(model_dir), world, stop).run()


def find_checkpoints(config: CfgNode, model_dir: Path) -> list[Path]:
    """The files that ``EVAL.CHECKPOINT`` names.

    Raises:
        UserError: naming the command that makes the missing one.
    """
    wanted = config.EVAL.CHECKPOINT
    if wanted == "all":
        return numbered_checkpoints(model_dir)
    if wanted == "best":
        return [best_checkpoint(model_dir)]
    if wanted == "latest":
        return numbered_checkpoints(model_dir)[-1:]
    return [named_checkpoint(wanted, model_dir)]


class Evaluation:
    """All that the checkpoints of one evaluation share: episodes, their spread over ranks, the simulator."""

    def __init__(self, config: CfgNode, model_dir: Path, world: World, stop: StopRequest):
        self.config, self.dir, self.world, self.stop = config, model_dir, world, stop
        check_settings(config)
        check_metric(config.EVAL.SELECT_BY)
        # the model dir is read on rank 0 alone, so other nodes need not see it
        self.checkpoints = distributed.from_main(lambda: find_checkpoints(config, model_dir))
        self.episodes = load_task_episodes(config)
        self.plan = plan_rounds(len(self.episodes), config.NUM_PROCESSES, world.rank, world.size)
        self._player: Optional[tuple[CfgNode, BatchSimulator, Agent]] = None

    def run(self) -> int:
        """Evaluate every checkpoint; see :func:`evaluate`."""
        summaries = []
        for number, path in enumerate(self.checkpoints, start=1):
            count = f"{number}/{len(self.checkpoints)} " if len(self.checkpoints) > 1 else ""
            summary = self._evaluate_one(path, f"evaluate {count}{path.stem}")
            if summary is None:
                return self.stop.exit_code
            summaries.append(summary)
        if self.world.is_main and self.config.EVAL.CHECKPOINT == "all":
            self._select(summaries)
        return 0

    def _evaluate_one(self, path: Path, label: str) -> Optional[dict[str, Any]]:
        """The summary of one checkpoint (empty on ranks other than the main one); None if it was stopped."""
        content = distributed.from_main(lambda: load_checkpoint(path))
        checkpoint = distributed.from_main(lambda: identify(path, self.dir))
        config = adopt_model_config(self.config, content, checkpoint)
        check_settings(config)
        folder = results_folder(self.dir, config, checkpoint)
        finished = distributed.from_main(lambda: find_finished(folder, config, checkpoint))
        reported = distributed.from_main((folder / "report" / "report.html").exists)
        lacks_report = config.EVAL.REPORT_EPISODES > 0 and not reported
        if finished is not None:
            self._say(f"{label}: finished before, kept: {folder}/summary.json")
            if not lacks_report:
                return finished
        simulator, agent = self._player_for(config)
        load_weights(agent, config, content, checkpoint, simulator.clips.classes)
        summary = finished
        if summary is None:
            self._warn_of_other_audio(config, content)
            records = play_episodes(
                agent, simulator, self.episodes, self.plan, config, self.world, self.stop, label
            )
            if records is None:
                return None
            summary = build_summary(records, config, checkpoint) if self.world.is_main else {}
            distributed.on_main(lambda: write_results(folder, records, summary))
        if lacks_report:
            where = folder / "report"
            distributed.on_main(
                lambda: write_report(where, agent, simulator, self.episodes, config, summary, self.dir)
            )
        self._show(folder, summary)
        return summary

    def _player_for(self, config: CfgNode) -> tuple[BatchSimulator, Agent]:
        # checkpoints of one training share their config, so this builds once; drawing weights takes as long as
        # playing several episodes
        if self._player is None or self._player[0] != config:
            images = config.POLICY.VISION != "none" and config.EVAL.AGENT == "policy"
            simulator = build_simulator(
                config, self.episodes, self.plan.num_envs, self.world.device, target_bin=True, images=images
            )
            agent = build_untrained(config, len(simulator.clips.classes), self.world.device)
            self._player = (config, simulator, agent)
        return self._player[1:]

    def _select(self, summaries: list[dict[str, Any]]) -> None:
        if self.config.EVAL.AGENT != "policy":
            self._say("a scripted agent was evaluated, so the best checkpoint stays as it was")
            return
        choice = choose_best(summaries, self.config.EVAL.SELECT_BY)
        with writing(self.dir):
            link_best(self.dir, choice)
        digits = 2 if choice["metric"].endswith("_db") else 4
        rows = [["checkpoint", f"{choice['metric']} of refined"]]
        rows += [
            [c["checkpoint"], format_estimate({**c, "mean": c["value"]}, digits)]
            for c in choice["candidates"]
        ]
        self._say(f"\n{text_table(rows)}\n\nbest: {choice['checkpoint']}, linked as {self.dir / 'best.pth'}")

    def _show(self, folder: Path, summary: dict[str, Any]) -> None:
        if not self.world.is_main:
            return
        skipped = summary["skipped"]
        count = f"{summary['episodes']} episodes of {summary['split']}"
        self._say(f"\n{summary['agent']}, {summary['checkpoint']}, {count}")
        self._say(text_table(score_rows(summary["methods"])))
        self._say(
            "mean ± half width of the 95 % confidence interval over episodes; "
            f"{skipped['silent_seconds']} of {skipped['seconds']} seconds have a silent target, "
            f"{skipped['rirs']} responses are missing; {folder}"
        )

    def _warn_of_other_audio(self, config: CfgNode, content: dict[str, Any]) -> None:
        trained = content["config"].get("AUDIO.MODE", config.AUDIO.MODE)
        if trained != config.AUDIO.MODE:
            self._say(f"note: AUDIO.MODE is {config.AUDIO.MODE} here, the agent was trained with {trained}")

    def _say(self, line: str) -> None:
        if self.world.is_main:
            print(line, flush=True)
