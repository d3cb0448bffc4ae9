#!/usr/bin/env python3
"""What is there to gain from moving, and can one second of sound tell where to go?

    python scripts/probe_motion.py --model-dir runs/quickstart/passive DATA.ROOT runs/quickstart/data \\
        DATA.SOUND_SPACES runs/quickstart/sound_spaces

Puts the listener at random places of the training homes and prints the passive estimate's STFT-L2 by distance
to the target: the headroom of a policy. Then a small network learns, with supervision, which way the first step
of the shortest path to the target lies (ahead, left, behind, right) from what the policy hears in one second;
it is scored in a home it has not seen. Chance is 25 %. Where this is hard to learn with the answers given, it
is harder from the reward.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from yacs.config import CfgNode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.audio.metrics import stft_l2
from audio_separation.config import get_config
from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.rewards import mixture_estimate
from audio_separation.envs.simulator import BatchSimulator
from audio_separation.errors import UserError
from audio_separation.models.encoders import AudioEncoder
from audio_separation.training.active import build_agent, load_separator
from audio_separation.training.allocator import keep_freed_memory

ENVS = 16
BATCH = 128
DISTANCES_M = (0.0, 0.5, 1.5, 2.5, 3.5, 5.0)


class Places(NamedTuple):
    """What was heard at random places."""

    bin_mag: Tensor  # [P, C, F, N] masked mixture, the policy's input
    way: Tensor  # [P] quarter turns from the heading to the way to the target; -1 at the target itself
    distance_m: np.ndarray  # [P]
    passive: np.ndarray  # [P] STFT-L2
    mixture: np.ndarray  # [P] STFT-L2


def way_to_target(simulator: BatchSimulator, env: int) -> int:
    """Quarter turns, counter-clockwise, from the heading to the first edge of the shortest path; -1 at its end."""
    episode = simulator.episodes[env]
    assert episode is not None
    graph = simulator.scenes[episode.scene].graph
    here, target = simulator.node[env], graph.nearest(episode.source_positions[0])
    if here == target:
        return -1
    neighbours = graph.neighbours[here]
    steps = graph.positions[neighbours] - graph.positions[here]
    best = np.argmin(np.linalg.norm(steps, axis=1) + graph.geodesic[neighbours, target])
    heading = np.rad2deg(np.arctan2(-steps[best, 0], -steps[best, 2]))
    return round((heading - simulator.rotation[env]) / 90) % 4


@torch.no_grad()
def listen_at_random(config: CfgNode, separators: Path, count: int, rng: np.random.Generator) -> Places:
    """Hear ``count`` seconds at places within 5 m of the target."""
    device = torch.device("cpu")
    episodes = load_task_episodes(config, images=False)
    simulator = build_simulator(config, episodes, ENVS, device, target_bin=False, images=False)
    agent = build_agent(config, simulator.clips.classes, device)
    load_separator(agent, separators, simulator.clips.classes, config)
    parts: list[tuple[Tensor, ...]] = []
    ways, distances = [], []
    for _ in range(count // ENVS):
        simulator.begin(range(ENVS), [episodes[i] for i in rng.integers(len(episodes), size=ENVS)])
        for env, episode in enumerate(simulator.episodes):
            assert episode is not None
            graph = simulator.scenes[episode.scene].graph
            target = graph.nearest(episode.source_positions[0])
            simulator.node[env] = rng.choice(np.flatnonzero(graph.geodesic[target] <= DISTANCES_M[-1]))
            simulator.rotation[env] = 90 * rng.integers(4)
            ways.append(way_to_target(simulator, env))
        distances.append(simulator.target_distance())
        seen = simulator.observe()
        heard = agent.listen(seen.mix_logmag, seen.target_class)
        mixture = mixture_estimate(torch.expm1(seen.mix_logmag), config.AUDIO.TARGET_MONO_RMS)
        truth = seen.target_mono_mag
        parts.append((heard.bin_mag, stft_l2(heard.mono_mag, truth), stft_l2(mixture, truth)))
    bin_mag, passive, unprocessed = (torch.cat(x) for x in zip(*parts))
    return Places(
        bin_mag, torch.tensor(ways), np.concatenate(distances), passive.numpy(), unprocessed.numpy()
    )


def learn_the_way(train: Places, test: Places, config: CfgNode, epochs: int) -> float:
    """Train the policy's own audio encoder on the way to the target; returns the accuracy on ``test``."""
    torch.manual_seed(config.SEED)
    encoder = AudioEncoder(2, config.POLICY.AUDIO_CHANNELS, config.POLICY.HIDDEN, gain=config.POLICY.BIN_GAIN)
    network = nn.Sequential(encoder, nn.Linear(config.POLICY.HIDDEN, 4))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    away = train.way >= 0
    heard, ways = train.bin_mag[away], train.way[away]
    for _ in range(epochs):
        for part in torch.randperm(len(ways)).split(BATCH):
            loss = nn.functional.cross_entropy(network(heard[part]), ways[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        away = test.way >= 0
        guesses = torch.cat([network(x).argmax(1) for x in test.bin_mag[away].split(BATCH)])
        return (guesses == test.way[away]).double().mean().item()


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model-dir", type=Path, required=True, help="pretrained separators")
    parser.add_argument(
        "--exp-config", default="configs/train/near_target_small.yaml", help="their sizes (%(default)s)"
    )
    parser.add_argument("--places", type=int, default=6400, help="seconds heard for training (%(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="of the probe (%(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config overrides")
    args = parser.parse_intermixed_args(argv)
    keep_freed_memory()
    try:
        config = get_config(args.exp_config, args.overrides)
        unseen = get_config(args.exp_config, [*args.overrides, "DATA.SPLIT", "valHeard"])
        rng = np.random.default_rng(config.SEED)
        train = listen_at_random(config, args.model_dir, args.places, rng)
        test = listen_at_random(unseen, args.model_dir, max(args.places // 6, 2 * ENVS), rng)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("distance to the target   seconds   passive STFT-L2   mixture STFT-L2")
    for low, high in zip(DISTANCES_M[:-1], DISTANCES_M[1:]):
        at = (train.distance_m >= low) & (train.distance_m < high)
        if at.any():
            row = f"{train.passive[at].mean():15.3f}   {train.mixture[at].mean():15.3f}"
            print(f"{low:4.1f} to {high:3.1f} m   {at.sum():19d}   {row}")
    accuracy = learn_the_way(train, test, config, args.epochs)
    print(
        f"way to the target from one second, home not seen: {accuracy:.1%} of {(test.way >= 0).sum()} (chance 25 %)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
