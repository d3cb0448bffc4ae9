"""RGB-D of a scene's mesh by habitat-sim (0.3), at any position and heading. habitat-sim is imported when asked for."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.datasets import CAMERA_HEIGHT_M
from audio_separation.scenes.observations import MAX_DEPTH_M
from audio_separation.scenes.raycast import FOV_DEG, RESOLUTION

SOFTWARE = -1  # gpu_device_id of rendering without a display or a GPU


def installed() -> bool:
    """Whether habitat-sim is there."""
    return importlib.util.find_spec("habitat_sim") is not None


def require_habitat_sim() -> Any:
    """The module ``habitat_sim``.

    Raises:
        UserError: it is not installed, or cannot be loaded.
    """
    try:
        import habitat_sim
    except ImportError as error:
        raise UserError(
            f"habitat-sim cannot be imported ({error}); environment.yml brings it: conda env create -f "
            "environment.yml; or take our ray caster (--renderer raycast, LIVE.SIGHT raycast)"
        ) from None
    return habitat_sim


class SimViews:
    """Views of one scene's mesh; all scenes of a process share one simulator.

    Creating a simulator takes 5 to 11 s, so it is kept: looking at another scene than before reconfigures it. A
    ``.stage_config.json`` beside the mesh says its frame to habitat-sim, as to us.

    Args:
        mesh: file of the scene.
        resolution: H and W of the views.
        fov_deg: horizontal field of view.
        camera_height_m: of the camera above the agent's position.
        gpu: number of the GPU that renders; -1 for software rendering.

    Raises:
        UserError: habitat-sim is not installed.
    """

    def __init__(
        self,
        mesh: Path,
        resolution: int = RESOLUTION,
        fov_deg: float = FOV_DEG,
        camera_height_m: float = CAMERA_HEIGHT_M,
        gpu: int = SOFTWARE,
    ) -> None:
        self._mesh = mesh
        self._shared = _shared_simulator(resolution, fov_deg, camera_height_m, gpu)

    def view(self, position: np.ndarray, rotation_deg: float) -> dict[str, np.ndarray]:
        """What the camera sees above ``position`` [3] (Habitat frame); rotation 0 looks along -Z, 90 along -X.

        Returns:
            {"rgb": uint8 [H, W, 3], "depth": float32 [H, W, 1]}, depth clipped to 0-10 m and divided by 10; 0
            where there is no surface.
        """
        seen = self._shared.look(self._mesh, position, rotation_deg)
        depth = np.clip(np.asarray(seen["depth"], np.float32), 0.0, MAX_DEPTH_M) / np.float32(MAX_DEPTH_M)
        # the sensors may hand out their own buffers, which the next view overwrites
        return {"rgb": np.array(seen["rgb"][..., :3]), "depth": depth.reshape(*depth.shape[:2], 1)}


class _SharedSimulator:
    """One habitat-sim simulator with a camera, and the scene that it shows."""

    def __init__(self, resolution: int, fov_deg: float, camera_height_m: float, gpu: int) -> None:
        self._habitat_sim = require_habitat_sim()
        self._resolution, self._fov_deg = resolution, fov_deg
        self._camera_height_m, self._gpu = camera_height_m, gpu
        self._simulator: Any = None
        self._shown: Optional[Path] = None

    def look(self, mesh: Path, position: np.ndarray, rotation_deg: float) -> dict[str, Any]:
        """What the sensors ``rgb`` and ``depth`` (metres) give for an agent at a pose in a scene."""
        if mesh != self._shown:
            self._show(mesh)
        state = self._habitat_sim.agent.AgentState()
        half = np.radians(rotation_deg) / 2
        state.position = np.asarray(position, np.float32)
        state.rotation = [0.0, float(np.sin(half)), 0.0, float(np.cos(half))]  # x, y, z, w: about +Y
        self._simulator.get_agent(0).set_state(state)
        return self._simulator.get_sensor_observations()

    def _show(self, mesh: Path) -> None:
        config = self._configuration(mesh)
        self._shown = None
        try:
            if self._simulator is None:
                self._simulator = self._habitat_sim.Simulator(config)
            else:
                self._simulator.reconfigure(config)
        except Exception as error:  # its bindings raise all kinds
            raise UserError(f"habitat-sim cannot show {mesh} ({type(error).__name__}: {error})") from error
        self._shown = mesh

    def _configuration(self, mesh: Path) -> Any:
        habitat_sim = self._habitat_sim
        world = habitat_sim.SimulatorConfiguration()
        world.scene_id = str(mesh)
        world.gpu_device_id = self._gpu
        world.enable_physics = False
        world.load_semantic_mesh = False
        agent = habitat_sim.agent.AgentConfiguration()
        agent.sensor_specifications = [
            self._camera("rgb", habitat_sim.SensorType.COLOR),
            self._camera("depth", habitat_sim.SensorType.DEPTH),
        ]
        return habitat_sim.Configuration(world, [agent])

    def _camera(self, name: str, kind: Any) -> Any:
        spec = self._habitat_sim.CameraSensorSpec()
        spec.uuid = name
        spec.sensor_type = kind
        spec.sensor_subtype = self._habitat_sim.SensorSubType.PINHOLE
        spec.channels = 4 if name == "rgb" else 1
        spec.resolution = [self._resolution, self._resolution]
        spec.hfov = self._fov_deg
        spec.position = [0.0, self._camera_height_m, 0.0]
        return spec


_shared_simulator = lru_cache(maxsize=1)(_SharedSimulator)
