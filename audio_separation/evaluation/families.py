"""What the results of each family of tasks are called, which of their settings may differ, and their tables."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

Columns = Mapping[str, "tuple[str, int, int]"]  # title of a column -> metric, digits, factor


class Family(NamedTuple):
    """One family, by the ``task`` of its summaries.

    Attributes:
        sections: beginnings of the keys that say what the agent is asked to do.
        method_keys: those among them that may differ between methods: how it hears and learns, not what it shall do.
            One that ends in a dot is the beginning of keys.
        tables: title -> columns.
        curves: metric of a validation -> factor and label, drawn over the training.
        split_name: of a summary.
    """

    sections: tuple[str, ...]
    method_keys: tuple[str, ...]
    tables: Mapping[str, Columns]
    curves: Mapping[str, tuple[int, str]]
    split_name: Callable[[Mapping[str, Any]], str]

    def shares(self, key: str) -> bool:
        """Whether all methods in one table must have ``key`` in common."""
        own = any(key.startswith(k) if k.endswith(".") else key == k for k in self.method_keys)
        return key.startswith(self.sections) and not own


def _rooms_and_sounds(summary: Mapping[str, Any]) -> str:
    split, sounds = summary["split"], summary["sounds"]
    heard = {"train": "heard", f"{split}Unheard": "unheard"}
    return f"{split}_{heard.get(sounds, sounds)}"


def _targets(summary: Mapping[str, Any]) -> str:
    targets, heard = (summary["record"]["config"][f"SYNTH.{key}"] for key in ("TARGETS", "HEAR"))
    return f"{summary['split']}_{targets}" + ("_rendered" if heard == "render" else "")


def _plain(summary: Mapping[str, Any]) -> str:
    return summary["split"]


AUDITION = Family(
    sections=("AUDITION.",),
    method_keys=(
        "AUDITION.SEPARATOR.",
        "AUDITION.QNET.",
        "AUDITION.PRETRAIN.",
        "AUDITION.POSE",
        "AUDITION.CACHE_MB",
    ),
    tables={
        "Finding the sources": {
            "success %": ("success", 1, 100),
            "found %": ("found_fraction", 1, 100),
            "steps": ("steps", 1, 1),
            "SPL": ("spl", 3, 1),
            "reward": ("reward", 1, 1),
        },
        "Separation at the first observation, SI-SDR improvement in dB": {
            "separated": ("first_si_sdr_improvement_db", 2, 1),
            "ideal mask": ("ideal_mask/first_si_sdr_improvement_db", 2, 1),
            "separated SI-SDR": ("first_si_sdr_db", 2, 1),
            "separated SI-SIR": ("first_si_sir_db", 2, 1),
            "mixture SI-SDR": ("mixture/first_si_sdr_db", 2, 1),
        },
        "Separation along the way, SI-SDR improvement in dB": {
            "separated": ("si_sdr_improvement_db", 2, 1),
            "ideal mask": ("ideal_mask/si_sdr_improvement_db", 2, 1),
            "separated SI-SDR": ("si_sdr_db", 2, 1),
            "separated SI-SIR": ("si_sir_db", 2, 1),
            "mixture SI-SDR": ("mixture/si_sdr_db", 2, 1),
        },
    },
    curves={
        "val/success": (100, "validation episodes with all sources found (%)"),
        "separator/si_sdr_improvement_db": (1, "SI-SDR above the mixture's (dB)"),
    },
    split_name=_rooms_and_sounds,
)
SYNTH = Family(
    sections=("SYNTH.",),
    method_keys=(
        "SYNTH.ACTIONS",
        "SYNTH.REWARD",
        "SYNTH.REWARD_NOISE",
        "SYNTH.FEATURES",
        "SYNTH.LOOKUP",
        # in the name of the split
        "SYNTH.TARGETS",
        "SYNTH.HEAR",
        # places
        "SYNTH.TABLE",
        "SYNTH.CORPUS_AUDIO",
    ),
    tables={
        "Distance to the target, mean over the steps": {
            "RMSE": ("rmse", 3, 1),
            "of the nearest sound": ("nearest/rmse", 3, 1),
            "RMSE of the second half": ("late_rmse", 3, 1),
            "steps within 0.1 of the nearest %": ("near", 1, 100),
        }
    },
    curves={"eval/mean_reward": (1, "reward of a validation episode")},
    split_name=_targets,
)
STEP_SIGNAL = Family(
    sections=("STEP_SIGNAL.",),
    method_keys=("STEP_SIGNAL.REWARD",),
    tables={
        "Flattened at the last step": {
            "success %": ("success", 1, 100),
            "final RMS": ("final_rms", 3, 1),
            "steps to the first success": ("first_success", 1, 1),
            "return": ("return", 2, 1),
        }
    },
    curves={
        "eval/success_rate": (100, "validation episodes with success (%)"),
        "eval/mean_reward": (1, "reward of a validation episode"),
    },
    split_name=_plain,
)
FAMILIES = {"audition": AUDITION, "synth": SYNTH, "step_signal": STEP_SIGNAL}
