"""What the evaluation has to know of the step signal."""

from __future__ import annotations

from audio_separation.evaluation.control.kits import Kit
from audio_separation.evaluation.step_signal.report import write_step_signal_report
from audio_separation.evaluation.step_signal.scores import episode_record
from audio_separation.rl.step_signal_baselines import AGENTS

STEP_SIGNAL_KIT = Kit(
    sections=("STEP_SIGNAL.",),
    own=(),
    agents=AGENTS,
    record=episode_record,
    report=write_step_signal_report,
    shown=("success", "final_rms", "first_success", "return"),
)
