"""Playing episodes in batches, over any number of processes, with numbers that depend on neither."""

from __future__ import annotations

import zlib
from typing import Any, Iterator, NamedTuple, Optional, Sequence

import numpy as np
import torch
from yacs.config import CfgNode

from audio_separation.envs.simulator import BatchSimulator
from audio_separation.errors import UserError
from audio_separation.evaluation.scores import METHODS, Listener, ScoreKeeper, Scores, Step, dry_sources
from audio_separation.models.agent import Agent, EpisodeMemory, shrink_images
from audio_separation.rl.baselines import SCRIPTED
from audio_separation.rl.ppo import sample_actions
from audio_separation.scenes.episodes import Episode
from audio_separation.training import distributed
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import Progress, StopRequest

AGENTS = ("policy", *SCRIPTED)
DRAWS = 5  # second word of the seed of the numbers that draw actions; training uses 0 to 4


class Motion(NamedTuple):
    """Where E agents went in T seconds.

    Attributes:
        nodes: ``[T, E]`` node ids (rows of points.txt), of the nearest ones where agents move freely.
        positions: ``[T, E, 3]`` Habitat frame, metres.
        rotations: ``[T, E]`` degrees.
        distances: ``[T, E]`` geodesic distance to the target, metres.
        actions: ``[T - 1, E]``; the action at t leads to second t + 1. -1 keeps the pose.
    """

    nodes: np.ndarray
    positions: np.ndarray
    rotations: np.ndarray
    distances: np.ndarray
    actions: np.ndarray


def check_settings(config: CfgNode) -> None:
    """Refuse EVAL settings that make no sense, by key."""
    if config.EVAL.AGENT not in AGENTS:
        raise UserError(f"EVAL.AGENT is {config.EVAL.AGENT!r}; expected one of {', '.join(AGENTS)}")
    if not 0 <= config.EVAL.REFINE_STEPS < config.MEMORY.SIZE:
        raise UserError(
            f"EVAL.REFINE_STEPS is {config.EVAL.REFINE_STEPS}; the memory of MEMORY.SIZE "
            f"{config.MEMORY.SIZE} steps can refine 0 to {config.MEMORY.SIZE - 1} steps back"
        )


def episode_draws(episode: Episode, steps: int, seed: int) -> np.ndarray:
    """The uniform numbers ``[T]`` of an episode: its own, whatever else is played beside it."""
    key = zlib.crc32(f"{episode.scene}/{episode.episode_id}".encode())
    return np.random.default_rng((seed, DRAWS, key)).random(steps)


def final_seconds(t: int, num_steps: int, refine_steps: int) -> range:
    """The seconds whose estimate as of second ``t`` is the last one that the protocol takes.

    A second may be refined by ``refine_steps`` later ones, so it is final that much later; the last second of
    the episode makes all that are left final.
    """
    return range(max(0, t - refine_steps), num_steps if t + 1 == num_steps else t - refine_steps + 1)


class Player:
    """Plays batches of episodes with a policy or a scripted motion.

    The separators and the memory are the agent's in either case; only the motion differs.

    Args:
        config: of the agent; EVAL says who moves, MEMORY.SIZE and POLICY how the agent looks and remembers.
    """

    def __init__(self, agent: Agent, simulator: BatchSimulator, config: CfgNode):
        self._agent, self._simulator, self._config = agent.eval(), simulator, config

    @torch.no_grad()
    def play(self, episodes: Sequence[Episode], listeners: Sequence[Listener]) -> Motion:
        """Play one episode in every environment; each listener is told every second."""
        config, simulator, agent = self._config, self._simulator, self._agent
        num_steps, num_envs = simulator.episode_steps, simulator.num_envs
        draws = np.stack([episode_draws(episode, num_steps, config.SEED) for episode in episodes], 1)
        memory = EpisodeMemory(agent.memory, config.MEMORY.SIZE)
        hidden = agent.policy.initial_hidden(num_envs)
        nodes, positions, rotations, distances, actions = [], [], [], [], []
        observation = simulator.reset(episodes)
        for t in range(num_steps):
            nodes.append(node_ids(simulator))
            positions.append(simulator.positions())
            rotations.append(simulator.rotation.copy())
            distances.append(simulator.target_distance())
            heard = agent.listen(observation.mix_logmag, observation.target_class)
            final = final_seconds(t, num_steps, config.EVAL.REFINE_STEPS)
            estimates = memory.add(heard.mono_mag, last=t + 1 - final.start if final else 1)
            final_rows = dict(zip(final, estimates.unbind(1)))
            step = Step(t, observation, heard, estimates[:, -1], final_rows)
            for listener in listeners:
                listener.add(step)
            if t + 1 < num_steps:
                chosen, hidden = self._act(step, hidden, draws[t])
                actions.append(chosen)
                observation = simulator.step(chosen)
        none = np.zeros((0, num_envs), int)
        return Motion(
            np.stack(nodes),
            np.stack(positions),
            np.stack(rotations),
            np.stack(distances),
            np.array(actions) if actions else none,
        )

    def _act(self, step: Step, hidden: torch.Tensor, draws: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        config = self._config
        if config.EVAL.AGENT in SCRIPTED:
            return SCRIPTED[config.EVAL.AGENT](len(draws), draws), hidden
        obs = step.observation
        rgb, depth = shrink_images(obs.rgb, obs.depth, config.POLICY.VISION, config.POLICY.IMAGE_SIZE)
        going = torch.ones(len(draws), device=hidden.device)  # hidden is fresh, nothing to forget
        output = self._agent.policy(rgb, depth, step.heard.bin_mag, step.refined, hidden, going)
        if config.EVAL.DETERMINISTIC:
            return output.logits.argmax(-1).cpu().numpy(), output.hidden
        return sample_actions(
            output.logits, torch.from_numpy(draws).to(hidden.device)
        ).cpu().numpy(), output.hidden


def node_ids(simulator: BatchSimulator) -> np.ndarray:
    """Node ids (rows of points.txt) where the agents stand, ``[E]``."""
    graphs = [simulator.scenes[episode.scene].graph for episode in simulator.episodes if episode is not None]
    return np.array([graph.node_ids[v] for graph, v in zip(graphs, simulator.node)])


class Plan(NamedTuple):
    """How the episodes are spread over ranks and batches.

    Attributes:
        num_envs: E, equal on all ranks.
        rounds: what this rank plays in each round, indices of episodes; a round may be short or empty.
    """

    num_envs: int
    rounds: list[list[int]]


def plan_rounds(num_episodes: int, most_envs: int, rank: int, size: int) -> Plan:
    """Spread episodes evenly: all ranks have as many rounds, and no batch is larger than ``most_envs``."""
    per_rank = -(-num_episodes // size)
    num_rounds = -(-per_rank // most_envs)
    num_envs = -(-per_rank // num_rounds)
    mine = list(range(rank, num_episodes, size))
    return Plan(num_envs, [mine[i * num_envs : (i + 1) * num_envs] for i in range(num_rounds)])


def play_episodes(
    agent: Agent,
    simulator: BatchSimulator,
    episodes: Sequence[Episode],
    plan: Plan,
    config: CfgNode,
    world: World,
    stop: StopRequest,
    label: str,
) -> Optional[list[dict[str, Any]]]:
    """Play and score all episodes, each rank its part.

    Returns:
        On the main rank the records of :func:`episode_record` in the episodes' order, elsewhere an empty
        list; None on every rank if one of them was asked to stop.
    """
    player = Player(agent, simulator, config)
    verbose = config.VERBOSE and world.is_main
    progress = Progress(label, "episodes", sum(map(len, plan.rounds)), 0, verbose)
    records: list[tuple[int, dict[str, Any]]] = []
    for part in plan.rounds:
        if distributed.any_rank(stop.signal is not None, world.device):
            return None
        records += zip(part, _play_batch(player, simulator, [episodes[i] for i in part], config))
        progress.line(len(records))
    gathered = distributed.gather(records)
    everything = sorted((item for rank in gathered or [] for item in rank), key=lambda item: item[0])
    return [record for _, record in everything]


def _play_batch(
    player: Player, simulator: BatchSimulator, episodes: Sequence[Episode], config: CfgNode
) -> Iterator[dict[str, Any]]:
    if not episodes:
        return
    # a short batch is filled with repeats of its first episode, whose records are dropped
    filled = [*episodes, *[episodes[0]] * (simulator.num_envs - len(episodes))]
    sources = dry_sources(simulator.clips, filled, simulator.device) if config.EVAL.EXTRA_METRICS else None
    keeper = ScoreKeeper(config.AUDIO.TARGET_MONO_RMS, sources)
    motion = player.play(filled, [keeper])
    scores = keeper.finish()
    for e, episode in enumerate(episodes):
        yield episode_record(episode, e, motion, scores, simulator)


def episode_record(
    episode: Episode, env: int, motion: Motion, scores: Scores, simulator: BatchSimulator
) -> dict[str, Any]:
    """What is kept of one episode: plain data, one value a second in each list.

    ``scores`` holds ``method -> metric -> [T]`` with null where a second has no score.
    """
    num_steps = len(motion.nodes)
    sources = simulator.source_nodes(episode, num_steps)  # [S, T]
    skipped = simulator.renderer.rirs.skipped
    azimuths = (-motion.rotations[:, env]) % 360
    lacking = {
        (episode.scene, int(azimuths[t]), int(motion.nodes[t, env]), int(node))
        for t in range(num_steps if skipped else 0)
        for node in sources[:, t]
    }
    return {
        "scene": episode.scene,
        "episode_id": episode.episode_id,
        "target_class": simulator.clips.class_of(episode.sounds[0]),
        "target_label": episode.labels[0],
        "sounds": list(episode.sounds),
        "source_nodes": sources[:, 0].tolist(),
        "nodes": motion.nodes[:, env].tolist(),
        "positions_m": motion.positions[:, env].round(3).tolist(),
        "rotations_deg": motion.rotations[:, env].tolist(),
        "target_distance_m": [round(float(d), 4) for d in motion.distances[:, env]],
        "actions": motion.actions[:, env].tolist(),
        # silence scores 0 where there is nothing to hear
        "silent": (scores["silence"]["stft_l2"][env] == 0).tolist(),
        "skipped_rirs": ["/".join(map(str, key)) for key in sorted(lacking & set(skipped))],
        "scores": {
            method: {metric: _plain(values[env]) for metric, values in scores[method].items()}
            for method in METHODS
        },
    }


def _plain(values: np.ndarray) -> list[Optional[float]]:
    # NaN is no JSON; seven digits are what float32 spectra carry
    return [float(f"{v:.7g}") if np.isfinite(v) else None for v in values]
