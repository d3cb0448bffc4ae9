"""The environments' ids and how Gymnasium makes them; what they need is imported when one is made."""

from __future__ import annotations

import gymnasium

SPEC_ID = "audio_separation/NearTarget-v0"
LIVE_SPEC_ID = "audio_separation/NearTargetLive-v0"
AUDITION_SPEC_ID = "audio_separation/Audition-v0"
SYNTH_SPEC_ID = "audio_separation/Synth-v0"
STEP_SIGNAL_SPEC_ID = "audio_separation/StepSignal-v0"


def register_envs() -> None:
    """Register the ids with Gymnasium; again does nothing."""
    near_target = "audio_separation.envs.near_target"
    for spec_id, kwargs in ((SPEC_ID, {}), (LIVE_SPEC_ID, {"simulator": "live"})):
        if spec_id not in gymnasium.registry:
            gymnasium.register(
                spec_id,
                entry_point=f"{near_target}:NearTargetEnv",
                vector_entry_point=f"{near_target}:NearTargetVectorEnv",
                kwargs=kwargs,
            )
    for spec_id, place in (
        (AUDITION_SPEC_ID, "audition.env:AuditionEnv"),
        (SYNTH_SPEC_ID, "synth.env:SynthEnv"),
        (STEP_SIGNAL_SPEC_ID, "step_signal.env:StepSignalEnv"),
    ):
        if spec_id not in gymnasium.registry:
            gymnasium.register(spec_id, entry_point=f"audio_separation.envs.{place}")
