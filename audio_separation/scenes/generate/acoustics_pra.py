"""Responses from pyroomacoustics (MIT), for machines without rlr-audio-propagation: simpler, but of the same kind.

Model, per home:

- Each room is a shoebox of its own size; the absorption of its furniture is spread over its surfaces.
- Within a room: pyroomacoustics' image sources up to IMAGE_ORDER, then an exponentially decaying diffuse tail
  whose decay follows Eyring and whose level follows from the room's absorption (16 pi (1 - a) / A relative to
  the direct sound at 1 m), both per octave band.
- From room to room: sound follows the shortest way through the doors. The last door before the listener acts
  as the source, at the full path length and DOOR_LOSS_DB quieter per door; the diffuse tail loses
  S_door / (A + S_door) per door and decays as slowly as the slowest room of the way.
- Ears: spherical head of HEAD_RADIUS_M, delays after Woodworth, shadow growing with frequency.

It has no diffraction, no scattering and no furniture in the way of the direct sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
import pyroomacoustics as pra

from audio_separation.scenes.generate.acoustics import (
    AZIMUTHS,
    MAX_LENGTH_S,
    RATE_HZ,
    SOUND_SPEED_M_S,
    ear_position,
    source_position,
)
from audio_separation.scenes.generate.home import EAR_HEIGHT_M, Home
from audio_separation.scenes.generate.materials import BANDS_HZ, MATERIALS
from audio_separation.scenes.generate.plan import DOOR_HEIGHT_M, Door

HEAD_RADIUS_M = 0.0875
IMAGE_ORDER = 5
DOOR_LOSS_DB = 4.0
SHADOW_DB = 14.0  # loss of the far ear at high frequencies, straight to one side
DIRECT_PEAK = 0.6  # of a source 1 m ahead, before acoustics.GAIN: matches the levels of the ray tracer
_LENGTH = int(MAX_LENGTH_S * RATE_HZ)
_EARLY = 8192  # samples that hold the image sources: half a second is 170 m


@dataclass(frozen=True)
class _Acoustics:
    """A room as the model sees it: mean energy absorption, decay time and equivalent area, each per band [6]."""

    absorption: np.ndarray
    rt60_s: np.ndarray
    area_m2: np.ndarray  # equivalent absorption area


@dataclass(frozen=True)
class _Images:
    """Image sources around a receiver: offsets [K, 3], lengths [K] (m), amplitudes [6, K] at 1 m."""

    offsets: np.ndarray
    lengths: np.ndarray
    amplitudes: np.ndarray


class PyroomEngine:
    """Shoebox rooms joined by doors."""

    name = "pyroomacoustics"

    def __init__(self, home: Home) -> None:
        self.home = home
        self.rooms = [_room_acoustics(home, k) for k in range(len(home.plan.rooms))]
        self.doors = nx.Graph()
        self.doors.add_nodes_from(range(len(self.rooms)))
        for number, door in enumerate(home.plan.doors):
            self.doors.add_edge(*door.rooms, door=number)
        self.early_bands, self.tail_bands = _band_filters(_EARLY), _band_filters(2 * _LENGTH)
        self.settings: dict[str, object] = {"image_order": IMAGE_ORDER, "head_radius_m": HEAD_RADIUS_M}

    def responses(self, receiver: int, sources: list[int]) -> dict[tuple[int, int], np.ndarray]:
        """(azimuth, source) -> float64 [2, L], see acoustics.Engine."""
        out = {}
        for source in sources:
            images, tail = self._paths(receiver, source)
            noise = _sum_bands(self._tail(tail, receiver, source), self.tail_bands)[:, :_LENGTH]
            for azimuth in AZIMUTHS:
                response = noise.copy()
                early = _sum_bands(_binaural(images, -azimuth % 360), self.early_bands)
                # filters have no delay, so what precedes the first image wraps round to the end: a trace
                response[:, :_EARLY] += early
                out[azimuth, source] = DIRECT_PEAK * response
        return out

    def _paths(self, receiver: int, source: int) -> tuple[_Images, tuple[np.ndarray, np.ndarray, float]]:
        """Images around the receiver, and its tail: energy and RT60 per band [6], length of the first path (m)."""
        home = self.home
        ear, origin = ear_position(home, receiver), source_position(home, source, receiver)
        here, there = home.node_rooms[receiver], home.node_rooms[source]
        way = nx.shortest_path(self.doors, there, here)
        before, loss = 0.0, 1.0
        energy, decay = _diffuse(self.rooms[there]), self.rooms[there].rt60_s
        for a, b in zip(way[:-1], way[1:]):
            door = home.plan.doors[self.doors.edges[a, b]["door"]]
            middle = np.array([door.centre[0], min(EAR_HEIGHT_M, DOOR_HEIGHT_M / 2 + 0.4), door.centre[1]])
            before += float(np.linalg.norm(middle - origin))
            # a step into the next room, so that its image sources are well defined
            origin = middle + _towards(home.plan.rooms[b].floor.centre, middle, door.axis, home.plan.wall)
            loss *= 10 ** (-DOOR_LOSS_DB / 20)
            opening = _door_area(door)
            energy = energy * opening / (self.rooms[b].area_m2 + opening)
            decay = np.maximum(decay, self.rooms[b].rt60_s)
        images = _room_images(home, here, self.rooms[here], origin, ear)
        lengths = images.lengths + before
        amplitudes = images.amplitudes * loss
        return _Images(images.offsets, lengths, amplitudes), (energy, decay, float(lengths.min()))

    def _tail(self, tail: tuple[np.ndarray, np.ndarray, float], receiver: int, source: int) -> np.ndarray:
        """Decaying noise per band [6, 2, L], the same for every heading, different at the two ears."""
        energy, decay, first_m = tail
        rng = np.random.default_rng([self.home.seed, receiver, source])
        elapsed = np.arange(_LENGTH) / RATE_HZ - first_m / SOUND_SPEED_M_S
        rate = np.log(1e6) / decay[:, None]  # energy decay, 1/s
        envelope = np.sqrt(energy[:, None] * rate / RATE_HZ * np.exp(-rate * np.maximum(elapsed, 0)))
        # the tail takes over while the image sources thin out, after IMAGE_ORDER crossings of the lowest side
        floor = self.home.plan.rooms[self.home.node_rooms[receiver]].floor
        side = min(floor.x1 - floor.x0, floor.z1 - floor.z0, self.home.plan.height)
        fade = np.clip(elapsed * SOUND_SPEED_M_S / (IMAGE_ORDER * side), 0, 1)
        return (envelope * fade)[:, None] * rng.standard_normal((1, 2, _LENGTH))


def _room_acoustics(home: Home, index: int) -> _Acoustics:
    """Mean absorption of a room, its surfaces and furniture, and Eyring's decay time.

    A piece of furniture counts as the top and three sides of its bounding box, with the mean absorption of its
    boxes: sound hardly reaches its back, or what is inside a shelf or under a table.
    """
    floor, height = home.plan.rooms[index].floor, home.plan.height
    w, d = floor.x1 - floor.x0, floor.z1 - floor.z0

    def absorbed(surface: str) -> np.ndarray:
        return np.asarray(MATERIALS[home.palette[surface].material].absorption)

    area = w * d * (absorbed(f"floor_{index}") + absorbed(f"ceiling_{index}"))
    area = area + 2 * (w + d) * height * absorbed(f"wall_{index}")
    for placed in home.furniture:
        if placed.room == index:
            low = np.min([b.low for b in placed.boxes], axis=0)
            high = np.max([b.high for b in placed.boxes], axis=0)
            x, y, z = high - low
            sizes = np.array([np.prod(np.subtract(b.high, b.low)) for b in placed.boxes])
            shares = sizes / sizes.sum()
            mean = sum(share * absorbed(b.surface) for share, b in zip(shares, placed.boxes))
            area = area + (x * z + 1.5 * y * (x + z)) * mean
    # what leaves through a door comes back in part: half of it counts as absorbed
    area = area + 0.5 * sum(_door_area(door) for door in home.plan.doors if index in door.rooms)
    surface = 2 * (w * d + w * height + d * height)
    mean = np.minimum(area / surface, 0.9)
    rt60 = 0.161 * w * d * height / (-surface * np.log(1 - mean))
    return _Acoustics(mean, rt60, surface * mean)


def _door_area(door: Door) -> float:
    passage, axis = door.passage, door.axis
    return DOOR_HEIGHT_M * (passage.z1 - passage.z0 if axis == 0 else passage.x1 - passage.x0)


def _towards(centre: tuple[float, float], middle: np.ndarray, axis: int, wall: float) -> np.ndarray:
    step = np.zeros(3)
    step[axis] = np.sign(centre[0 if axis == 0 else 1] - middle[axis]) * (wall / 2 + 0.05)
    return step


def _diffuse(room: _Acoustics) -> np.ndarray:
    """Energy of the reverberation per band, relative to the direct sound at 1 m."""
    return 16 * np.pi * (1 - room.absorption) / room.area_m2


def _room_images(home: Home, index: int, room: _Acoustics, origin: np.ndarray, ear: np.ndarray) -> _Images:
    """pyroomacoustics' image sources of a source in a shoebox room."""
    floor, height = home.plan.rooms[index].floor, home.plan.height
    low = np.array([floor.x0, 0.0, floor.z0])
    material = pra.Material({"coeffs": room.absorption.tolist(), "center_freqs": list(BANDS_HZ)})
    box = pra.ShoeBox(
        [floor.x1 - floor.x0, height, floor.z1 - floor.z0],
        fs=RATE_HZ,
        materials=material,
        max_order=IMAGE_ORDER,
    )
    box.add_source(origin - low)
    box.add_microphone(ear - low)
    box.image_source_model()
    source = box.sources[0]
    offsets = source.images.T - (ear - low)
    amplitudes = _on_bands(np.asarray(source.damping), box)
    return _Images(offsets, np.linalg.norm(offsets, axis=1), amplitudes)


def _on_bands(damping: np.ndarray, box: pra.ShoeBox) -> np.ndarray:
    """Damping per octave of pyroomacoustics [bands, K] at our BANDS_HZ [6, K]."""
    if damping.shape[0] == 1:
        return np.repeat(damping, len(BANDS_HZ), axis=0)
    centres = np.asarray(box.octave_bands.centers)
    return damping[[int(np.argmin(np.abs(np.log(centres / f)))) for f in BANDS_HZ]]


def _binaural(images: _Images, rotation_deg: float) -> np.ndarray:
    """Impulse trains [6, 2, L] at the two ears of a head with this rotation."""
    angle = np.radians(rotation_deg)
    right = np.array([np.cos(angle), 0.0, -np.sin(angle)])
    ahead = np.array([-np.sin(angle), 0.0, -np.cos(angle)])
    unit = images.offsets / np.maximum(np.linalg.norm(images.offsets, axis=1, keepdims=True), 1e-9)
    strength = images.amplitudes / np.maximum(images.lengths, 0.2)
    frequency = np.asarray(BANDS_HZ, float)[:, None]
    height = frequency**2 / (frequency**2 + 1500.0**2)  # 0 at low, 1 at high frequencies
    behind = -3.0 * height * np.maximum(-(unit @ ahead), 0.0)
    out = np.zeros((len(BANDS_HZ), 2, _EARLY))
    for ear, side in enumerate((-1.0, 1.0)):
        facing = side * (unit @ right)  # 1: straight at this ear
        theta = np.arcsin(np.clip(facing, -1, 1))
        # Woodworth: straight line to the near ear, along the sphere to the far one
        detour = np.where(facing > 0, -np.sin(theta), -theta) * HEAD_RADIUS_M
        level = height * (3.0 * np.maximum(facing, 0.0) - SHADOW_DB * np.maximum(-facing, 0.0)) + behind
        place = (images.lengths + detour) / SOUND_SPEED_M_S * RATE_HZ
        gains = strength * 10 ** (level / 20)
        first = np.floor(place).astype(int)
        rest = place - first
        keep = (first >= 0) & (first < _EARLY - 1)
        for band in range(len(BANDS_HZ)):
            np.add.at(out[band, ear], first[keep], (gains[band] * (1 - rest))[keep])
            np.add.at(out[band, ear], first[keep] + 1, (gains[band] * rest)[keep])
    return out


def _sum_bands(trains: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Each band [6, 2, L] through its filter [6, K], added up -> [2, 2 (K - 1)]."""
    length = 2 * (filters.shape[1] - 1)
    return np.fft.irfft((np.fft.rfft(trains, n=length, axis=-1) * filters[:, None]).sum(axis=0), n=length)


def _band_filters(length: int) -> np.ndarray:
    """Zero-phase octave filters [6, length // 2 + 1] that add up to one at every frequency."""
    octave = np.log2(np.maximum(np.fft.rfftfreq(length, 1 / RATE_HZ), 1.0) / BANDS_HZ[0])
    filters = np.zeros((len(BANDS_HZ), len(octave)))
    position = np.clip(octave, 0, len(BANDS_HZ) - 1)
    below = np.minimum(position.astype(int), len(BANDS_HZ) - 2)
    share = np.sin(np.pi / 2 * (position - below)) ** 2
    columns = np.arange(len(octave))
    filters[below, columns] += 1 - share
    filters[below + 1, columns] += share
    return filters
