"""The stores of room impulse responses: the WAV tree, packed files, and what is wrong with either."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import soundfile
from old_packed import write_version_1

from audio_separation.audio.packed_rirs import PackedRirStore, read_packed_metadata
from audio_separation.audio.packed_writer import MISSING, PackedWriter, write_packed
from audio_separation.audio.rir_store import WavRirStore, open_rir_store
from audio_separation.errors import UserError


def some_rirs(seed: int = 0) -> dict[tuple[int, int, int], np.ndarray]:
    """Responses of different lengths and of levels that float16 alone could not hold."""
    rng = np.random.default_rng(seed)
    rirs = {}
    for azimuth in (0, 90, 180, 270):
        for receiver in range(3):
            for source in (0, 2):
                length = int(rng.integers(1, 900))
                level = 10 ** rng.uniform(-8, 1)
                fade = np.exp(-6 * np.arange(length) / length)
                rirs[azimuth, receiver, source] = (level * fade * rng.standard_normal((2, length))).astype(
                    np.float32
                )
    return rirs


def write_wav(path: Path, rir: np.ndarray, rate: int = 16000, subtype: str = "FLOAT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, rir.T, rate, subtype=subtype)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for (azimuth, receiver, source), rir in some_rirs().items():
        separator = "-" if source else "_"  # both occur
        write_wav(tmp_path / "home" / str(azimuth) / f"{receiver}{separator}{source}.wav", rir)
    return tmp_path


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    # any order of writing will do
    write_packed(tmp_path / "home.safetensors", reversed(list(some_rirs().items())), 16000)
    return tmp_path


def test_wav_tree_gives_every_file(tree: Path) -> None:
    store = WavRirStore(tree)
    for key, rir in some_rirs().items():
        found = store.load("home", *key)
        assert found.dtype == np.float32 and (found == rir).all()
    assert store.max_samples("home") == max(rir.shape[1] for rir in some_rirs().values())


def _cut(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def _break_format(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"fmt ") + 8
    data[at : at + 2] = struct.pack("<H", 0x1234)  # a sample format that nobody knows
    path.write_bytes(bytes(data))


FAULTS = [
    (lambda p: p.unlink(), "is missing"),
    (lambda p: p.write_bytes(b""), "is empty (0 bytes)"),
    (lambda p: write_wav(p, np.zeros((2, 0), np.float32)), "holds no sample"),
    (lambda p: _cut(p, 0.6), "is truncated"),
    (lambda p: p.write_bytes(b"RIFF????WAVE"), "is truncated"),
    (_break_format, "is corrupt"),
    (lambda p: p.write_bytes(bytes(range(256)) * 9), "not a WAV file"),
    (lambda p: write_wav(p, np.ones((1, 50), np.float32)), "has 1 channel(s), expected 2"),
    (lambda p: write_wav(p, np.array([[1, np.nan], [0, 0]], np.float32)), "not finite"),
    (lambda p: write_wav(p, np.array([[1, np.inf], [0, 0]], np.float32)), "not finite"),
]


@pytest.mark.parametrize("spoil, words", FAULTS)
def test_broken_wav_is_an_error_that_names_it(tree: Path, spoil, words: str) -> None:
    path = tree / "home" / "90" / "1_0.wav"
    spoil(path)
    with pytest.raises(UserError) as caught:
        WavRirStore(tree).load("home", 90, 1, 0)
    message = str(caught.value)
    assert str(path) in message and words in message and "AUDIO.MISSING_RIR skip" in message


@pytest.mark.parametrize("spoil, words", FAULTS)
def test_skipping_lists_each_broken_pair_once(tree: Path, spoil, words: str) -> None:
    spoil(tree / "home" / "90" / "1_0.wav")
    store = open_rir_store(tree, kind="wav", on_missing="skip")
    for _ in range(3):
        silence = store.load("home", 90, 1, 0)
        assert silence.shape == (2, 1) and silence.dtype == np.float32 and not silence.any()
        assert store.load("home", 90, 2, 0).any()
    assert list(store.skipped) == [("home", 90, 1, 0)]
    assert words in store.skipped["home", 90, 1, 0]


def test_a_missing_scene_or_root_is_never_skipped(tree: Path) -> None:
    for kind in ("auto", "wav", "packed"):
        with pytest.raises(UserError, match=r"castle.* missing"):
            open_rir_store(tree, kind=kind, on_missing="skip").load("castle", 0, 0, 0)
        with pytest.raises(UserError, match=r"nowhere is missing.*generate_homes\.py"):
            open_rir_store(tree / "nowhere", kind=kind)
    (tree / "void").mkdir()
    with pytest.raises(UserError, match="void holds no readable WAV"):
        WavRirStore(tree).max_samples("void")


def test_unknown_settings(tree: Path) -> None:
    with pytest.raises(UserError, match=r"AUDIO.RIR_STORE is 'zip', expected auto, packed or wav"):
        open_rir_store(tree, kind="zip")
    with pytest.raises(UserError, match=r"AUDIO.MISSING_RIR is 'ignore', expected one of error, skip"):
        open_rir_store(tree, on_missing="ignore")


@pytest.mark.parametrize("dtype, limit_db", [("float16", -66), ("float32", -np.inf)])
def test_packed_round_trip(tmp_path: Path, dtype: str, limit_db: float) -> None:
    rirs = some_rirs()
    write_packed(tmp_path / "home.safetensors", rirs.items(), 16000, dtype, {"engine": "test", "seed": "7"})
    store = PackedRirStore(tmp_path)
    errors_db = []
    for key, rir in rirs.items():
        for _ in range(2):  # the first time with the checksum
            found = store.load("home", *key)
            assert found.shape == rir.shape and found.dtype == np.float32 and found.flags.c_contiguous
        exact = rir.astype(float)
        with np.errstate(divide="ignore"):
            errors_db.append(10 * np.log10(np.square(found - exact).sum() / np.square(exact).sum()))
    assert max(errors_db) <= limit_db
    stated = float(read_packed_metadata(tmp_path / "home.safetensors")["worst_error_db"])
    assert stated == max(errors_db) or abs(stated - max(errors_db)) < 0.1
    assert store.max_samples("home") == max(rir.shape[1] for rir in rirs.values())
    metadata = read_packed_metadata(tmp_path / "home.safetensors")
    assert {"engine": "test", "seed": "7", "rate": "16000"}.items() <= metadata.items()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home.safetensors"]  # no temporary file left


def test_packed_file_is_a_plain_safetensors_file(packed: Path) -> None:
    # what others read with the library: scaled to peak 1, in the order of writing
    arrays = safetensors.numpy.load_file(packed / "home.safetensors")
    assert arrays["data"].dtype == np.float16 and np.abs(arrays["data"]).max() == 1
    order = list(zip(arrays["azimuth"].tolist(), arrays["receiver"].tolist(), arrays["source"].tolist()))
    assert order == list(some_rirs())[::-1]
    begin = 0
    for row, key in enumerate(order):
        samples = int(arrays["length"][row])
        stored, begin = arrays["data"][begin : begin + 2 * samples], begin + 2 * samples
        assert zlib.crc32(stored.tobytes()) == arrays["crc"][row]
        rir = stored.reshape(2, samples).astype(np.float32) * arrays["scale"][row]
        assert (rir == PackedRirStore(packed).load("home", *key)).all()


def test_version_1_is_still_read(tmp_path: Path) -> None:
    rirs = some_rirs()
    write_version_1(tmp_path / "old.safetensors", rirs)
    write_packed(tmp_path / "new.safetensors", rirs.items(), 16000)
    store = PackedRirStore(tmp_path)
    for key in rirs:
        assert (store.load("old", *key) == store.load("new", *key)).all()
    assert store.max_samples("old") == store.max_samples("new") and not store.broken_pairs("old")
    with pytest.raises(UserError, match="azimuth 0, receiver 0, source 1: no such RIR"):
        store.load("old", 0, 0, 1)
    write_version_1(tmp_path / "nan.safetensors", {(0, 0, 0): np.full((2, 3), np.nan)})
    with pytest.raises(UserError, match="azimuth 0, receiver 0, source 0: the RIR is not finite"):
        PackedRirStore(tmp_path).load("nan", 0, 0, 0)
    for changes in ({"length": np.full(24, 10**6)}, {"offset": np.zeros(3, np.int64)}):
        write_version_1(tmp_path / "odd.safetensors", rirs, **changes)
        with pytest.raises(UserError, match="do not fit together"):
            PackedRirStore(tmp_path).load("odd", 0, 0, 0)


def test_every_flipped_bit_is_found(packed: Path) -> None:
    # one at a time, anywhere in the file: the response that holds it, or the whole file, is refused
    path = packed / "home.safetensors"
    sound = path.read_bytes()
    (room,) = struct.unpack("<Q", sound[:8])
    header = json.loads(sound[8 : 8 + room])
    ends = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    rng = np.random.default_rng(0)
    for name, (begin, end) in ends.items():
        if name == "data":
            end -= 8  # behind the last response are up to 6 bytes that nobody reads
        for at in rng.integers(begin, end, 5 if end > begin else 0):
            damaged = bytearray(sound)
            damaged[8 + room + at] ^= 1 << rng.integers(8)
            path.write_bytes(bytes(damaged))
            store = PackedRirStore(packed, on_missing="skip")
            if name == "data":
                silent = [key for key in some_rirs() if not store.load("home", *key).any()]
                (reason,) = store.skipped.values()
                assert len(silent) == 1 and "do not match its checksum" in reason
            else:
                with pytest.raises(UserError, match="its index does not match its checksum"):
                    store.load("home", 0, 0, 0)
    path.write_bytes(sound.replace(b'"rate": "16000"', b'"rate": "16001"'))
    with pytest.raises(UserError, match="its index does not match its checksum"):
        PackedRirStore(packed, rate=16001).load("home", 0, 0, 0)


def test_pairs_without_a_response_are_listed_with_the_reason(tmp_path: Path) -> None:
    rirs = some_rirs()
    del rirs[90, 1, 2], rirs[270, 0, 0]
    with PackedWriter(tmp_path / "home.safetensors", 16000) as writer:
        for key, rir in rirs.items():
            writer.add(key, rir)
        writer.add_broken((90, 1, 2), "it was empty")
    store = PackedRirStore(tmp_path)
    assert store.broken_pairs("home") == {(90, 1, 2): "it was empty", (270, 0, 0): MISSING}
    found = read_packed_metadata(tmp_path / "home.safetensors")
    assert (found["unreadable"], found["missing"]) == ("1", "1")
    skipping = PackedRirStore(tmp_path, on_missing="skip")
    for key, words in {(90, 1, 2): "it was empty", (270, 0, 0): MISSING, (0, 0, 7): "no such RIR"}.items():
        where = f"home.safetensors, azimuth {key[0]}, receiver {key[1]}, source {key[2]}: {words}; "
        with pytest.raises(UserError) as caught:
            store.load("home", *key)
        assert where in str(caught.value)
        assert not skipping.load("home", *key).any() and where in skipping.skipped[("home", *key)]


@pytest.mark.parametrize("kind", ["auto", "wav", "packed"])
def test_prefetching_changes_nothing(tree: Path, kind: str) -> None:
    rirs = some_rirs()
    write_packed(tree / "other.safetensors", rirs.items(), 16000, "float32")
    (tree / "home" / "90" / "1_0.wav").write_bytes(b"")
    scene = {"auto": ["home", "other"], "wav": ["home"], "packed": ["other"]}[kind]
    store = open_rir_store(tree, kind, prefetch_threads=2)
    absent = [(0, 5, 5), (90, 1, 0)]
    store.prefetch([(name, *key) for name in scene for key in [*absent, *rirs]])
    store = pickle.loads(pickle.dumps(store))  # as a worker gets it
    for _ in range(2):
        store.prefetch([(name, *key) for name in scene for key in [*absent, *rirs]])
        for name in scene:
            for key, rir in rirs.items():
                if (name, *key) != ("home", 90, 1, 0):
                    assert (store.load(name, *key) == rir).all()
    if kind != "packed":
        for key, words in (((0, 5, 5), "is missing"), ((90, 1, 0), "is empty")):
            with pytest.raises(UserError, match=words):
                store.load("home", *key)


def test_silent_rir_stays_silent(tmp_path: Path) -> None:
    write_packed(tmp_path / "home.safetensors", [((0, 0, 0), np.zeros((2, 5), np.float32))], 16000)
    assert (PackedRirStore(tmp_path).load("home", 0, 0, 0) == np.zeros((2, 5))).all()


def test_packed_reading_is_lazy(tmp_path: Path) -> None:
    # 200 MB of which one response is asked for: far less than that is read into memory
    big = np.ones((2, 500_000), np.float32)
    write_packed(tmp_path / "home.safetensors", (((0, r, 0), big) for r in range(100)), 16000)
    store = PackedRirStore(tmp_path)
    store.load("home", 0, 0, 0)

    def owned_mb() -> float:
        status = Path("/proc/self/status")
        if not status.exists():
            pytest.skip("needs /proc to measure memory")
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return (int(lines["VmRSS"].split()[0])) / 1024

    before = owned_mb()
    assert store.load("home", 0, 70, 0).shape == (2, 500_000)
    assert owned_mb() - before < 40


def test_store_travels_to_a_worker(packed: Path) -> None:
    store = PackedRirStore(packed)
    expected = store.load("home", 0, 0, 0)
    assert (pickle.loads(pickle.dumps(store)).load("home", 0, 0, 0) == expected).all()


def test_pair_that_is_not_packed(packed: Path) -> None:
    for key in ((0, 0, 1), (45, 0, 0), (0, 99, 0)):
        with pytest.raises(UserError, match=r"home.safetensors, azimuth .* no such RIR") as caught:
            PackedRirStore(packed).load("home", *key)
        assert f"receiver {key[1]}, source {key[2]}" in str(caught.value)
        store = PackedRirStore(packed, on_missing="skip")
        assert not store.load("home", *key).any()
        assert list(store.skipped) == [("home", *key)]


def _edit(path: Path, **changes: np.ndarray) -> None:
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file({**arrays, **changes}, path, read_packed_metadata(path))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda p: _cut(p, 0.5), "truncated or corrupt"),
        (lambda p: _cut(p, 0.999), "truncated or corrupt"),
        (lambda p: p.write_bytes(b""), "truncated or corrupt"),
        (lambda p: p.write_bytes(b"\xff" * 1000), "truncated or corrupt"),
        (lambda p: safetensors.numpy.save_file({"data": np.zeros(3)}, p), "format (None, None), expected"),
        (
            lambda p: safetensors.numpy.save_file({"data": np.zeros(3)}, p, read_packed_metadata(p)),
            "is corrupt",
        ),
        (lambda p: _edit(p, length=np.full(24, 10**6)), "its index does not match its checksum"),
        (lambda p: _edit(p, data=np.zeros(100, np.float16)), "do not fit together"),
        (lambda p: write_packed(p, some_rirs().items(), 44100), "44100 Hz, expected 16000 Hz"),
        (lambda p: p.unlink(), "is missing"),
    ],
)
def test_broken_packed_file_is_an_error_even_when_skipping(packed: Path, spoil, words: str) -> None:
    path = packed / "home.safetensors"
    spoil(path)
    for on_missing in ("error", "skip"):
        with pytest.raises(UserError) as caught:
            PackedRirStore(packed, on_missing=on_missing).load("home", 0, 0, 0)
        assert str(path) in str(caught.value) and words in str(caught.value)


def test_auto_prefers_the_packed_file_scene_by_scene(tree: Path) -> None:
    marked = {(0, 0, 0): np.full((2, 7), 0.75, np.float32)}
    write_packed(tree / "other.safetensors", marked.items(), 16000)
    write_wav(tree / "other" / "0" / "0_0.wav", np.zeros((2, 3), np.float32))
    store = open_rir_store(tree, on_missing="skip")
    assert (store.load("other", 0, 0, 0) == 0.75).all() and store.max_samples("other") == 7
    assert (store.load("home", 90, 2, 2) == some_rirs()[90, 2, 2]).all()
    store.load("home", 0, 0, 50)
    store.load("other", 0, 0, 50)
    assert [key[0] for key in store.skipped] == ["home", "other"]  # one list for both kinds


@pytest.mark.parametrize(
    "rirs, dtype, words",
    [
        ([], "float16", "no RIRs for"),
        ([((0, 0, 0), np.ones((2, 3)))] * 2, "float16", "occurs twice"),
        ([((0, 1, 2), np.ones((1, 3)))], "float16", "(0, 1, 2)"),
        ([((0, 1, 2), np.ones((2, 0)))], "float16", "shape (2, 0)"),
        ([((0, 1, 2), np.full((2, 3), np.nan))], "float16", "finite"),
        ([((0, 1, 70000), np.ones((2, 3)))], "float16", "(0, 1, 70000): expected numbers from 0 to 65535"),
        ([((0, 1, 2), np.ones((2, 3)))], "int16", "float16 or float32, not 'int16'"),
    ],
)
def test_writer_refuses_and_leaves_the_old_file(packed: Path, rirs, dtype: str, words: str) -> None:
    path = packed / "home.safetensors"
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        write_packed(path, rirs, 16000, dtype)
    assert words in str(caught.value)
    assert path.read_bytes() == before and len(list(packed.iterdir())) == 1
