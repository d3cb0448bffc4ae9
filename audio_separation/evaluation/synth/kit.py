"""What the evaluation has to know of the listening synthesizer agent."""

from __future__ import annotations

from audio_separation.evaluation.control.kits import Kit
from audio_separation.evaluation.synth.report import write_synth_report
from audio_separation.evaluation.synth.scores import episode_record
from audio_separation.rl.synth_baselines import AGENTS

SYNTH_KIT = Kit(
    sections=("SYNTH.",),
    own=("SYNTH.TABLE", "SYNTH.CORPUS_AUDIO"),  # places on this machine
    agents=AGENTS,
    record=episode_record,
    report=write_synth_report,
    shown=("rmse", "late_rmse", "near", "reward"),
)
