"""Configuration: one default tree, YAML overlays, KEY VALUE overrides."""

from audio_separation.config.default import default_config, get_config

__all__ = ["default_config", "get_config"]
