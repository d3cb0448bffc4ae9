"""The renderer against direct convolution of the whole clip, and its promises."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from audio_fakes import RATE, FakeClips, FakeRirs
from plain_spectra import plain_spectra

from audio_separation.audio import render as render_module
from audio_separation.audio import stft as stft_module
from audio_separation.audio.render import CHUNK, BinauralRenderer, Heard, Listeners, Rendered
from audio_separation.audio.spectra import DrySpectra, RirSpectra, fft_size, fill_window
from audio_separation.errors import UserError

CLIPS = {"a": 3.7, "b": 2.0, "c": 1.0}
NAMES = list(CLIPS)


def image_by_convolution(clip: np.ndarray, rir: np.ndarray, second: int) -> np.ndarray:
    """[C, L]: the looping clip, convolved directly, cut at the wanted second."""
    loop = clip[: len(clip) // RATE * RATE].astype(np.float64) / 32768
    turns = 2 + -(-rir.shape[1] // len(loop))
    start = (turns - 1) * len(loop) + second * RATE % len(loop)
    endless = np.tile(loop, turns)
    return np.stack(
        # the part that reaches this second is enough, convolved without an FFT
        [
            scipy.signal.convolve(
                endless[max(0, start - rir.shape[1] + 1) : start + RATE],
                ear.astype(np.float64),
                method="direct",
            )[min(start, rir.shape[1] - 1) :][:RATE]
            for ear in rir
        ]
    )


def listeners_at(num_sources: int, seconds: list[int]) -> Listeners:
    batch = len(seconds)
    return Listeners(
        ["home"] * batch,
        np.full(batch, 90),
        np.full(batch, 7),
        np.tile(np.arange(num_sources), (batch, 1)),
        [NAMES[:num_sources]] * batch,
        np.tile(np.array(seconds)[:, None], (1, num_sources)),
    )


def render(
    renderer: BinauralRenderer, num_sources: int, seconds: list[int], target_bin: bool = True
) -> Rendered:
    return renderer.render(listeners_at(num_sources, seconds), target_bin)


@pytest.mark.parametrize(
    "lengths",
    [[1], [37, 5], [700, 2048, 9], [6000, 16000], [17001, 300]],
    ids=lambda x: "-".join(map(str, x)),
)
def test_causal_is_the_convolution_of_the_whole_clip(lengths: list[int]) -> None:
    clips, rirs = FakeClips(CLIPS), FakeRirs(lengths)
    seconds = [0, 1, 2, 5, 40]  # a has 3 whole seconds, b 2, c 1: each wraps
    out = render(BinauralRenderer(rirs, clips), len(lengths), seconds)
    for b, second in enumerate(seconds):
        images = np.stack(
            [
                image_by_convolution(clips.samples(NAMES[s]), rirs.load("home", 90, 7, s), second)
                for s in range(len(lengths))
            ]
        )
        loudest = np.abs(images).max()
        assert np.abs(out.mix_bin[b].numpy() - images.mean(0)).max() < 2e-6 * loudest
        assert np.abs(out.target_bin[b].numpy() - images[0]).max() < 2e-6 * loudest
        dry = clips.samples("a")[second % 3 * RATE :][:RATE] / 32768
        assert np.abs(out.target_mono[b, 0].numpy() - dry).max() == 0


def test_seconds_join_without_a_seam() -> None:
    # second 2 follows second 1: rendering them alone gives the pieces of one long convolution, and the
    # second after the last is the first
    clips, rirs = FakeClips(CLIPS), FakeRirs([8000])
    out = render(BinauralRenderer(rirs, clips), 1, [0, 1, 2, 3])
    loop = clips.samples("a")[: 3 * RATE] / 32768
    whole = scipy.signal.fftconvolve(np.tile(loop, 3)[None], rirs.load("home", 90, 7, 0), axes=-1)[
        :, 3 * RATE :
    ]
    joined = np.concatenate(list(out.mix_bin.numpy()), axis=-1)
    assert np.abs(joined - whole[:, : 4 * RATE]).max() < 1e-6
    assert (out.mix_bin[3] - out.mix_bin[0]).abs().max() == 0


def test_direct_sound_keeps_its_delay_in_causal_mode_only() -> None:
    class Delay(FakeRirs):
        def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
            rir = np.zeros((2, 401), np.float32)
            rir[0, 100], rir[1, 130] = 1.0, 0.5
            return rir

    clips = FakeClips({"a": 2.0})
    dry = clips.samples("a") / 32768
    causal = render(BinauralRenderer(Delay([401]), clips), 1, [1]).mix_bin[0].numpy()
    assert np.abs(causal[0] - dry[RATE - 100 : 2 * RATE - 100]).max() < 1e-6
    assert np.abs(causal[1] - dry[RATE - 130 : 2 * RATE - 130] / 2).max() < 1e-6
    # the published crop advances the sound by (401 - 1) // 2 = 200 samples and loses what came before
    paper = render(BinauralRenderer(Delay([401]), clips, mode="paper"), 1, [1]).mix_bin[0].numpy()
    assert np.abs(paper[0, : RATE - 100] - dry[RATE + 100 : 2 * RATE]).max() < 1e-6
    assert np.abs(paper[0, RATE - 100 :]).max() == 0


@pytest.mark.parametrize("lengths", [[1, 2], [3000, 12001], [16001, 20000]])
def test_paper_mode_is_the_rounded_centre_of_each_second_alone(lengths: list[int]) -> None:
    clips, rirs = FakeClips(CLIPS), FakeRirs(lengths)
    out = render(BinauralRenderer(rirs, clips, mode="paper"), 2, [1, 4])
    for b, second in enumerate([1, 4]):
        images = []
        for s, name in enumerate("ab"):
            seconds = len(clips.samples(name)) // RATE
            alone = clips.samples(name)[second % seconds * RATE :][:RATE].astype(np.float64)
            rir = rirs.load("home", 90, 7, s).astype(np.float64)
            full = scipy.signal.fftconvolve(alone[None], rir, axes=-1)
            first = (rir.shape[1] - 1) // 2  # of scipy's mode="same"
            images.append(np.clip(np.round(full[:, first : first + RATE]), -32768, 32767))
        # float32 lands on the other side of a half in rare samples: one unit there
        difference = out.target_bin[b].numpy() * 32768 - images[0]
        assert np.abs(difference).max() <= 1.001 and np.mean(np.abs(difference) > 0.01) < 5e-3
        assert np.abs(out.mix_bin[b].numpy() * 32768 - np.mean(images, axis=0)).max() <= 1.001


def test_paper_mode_clips_at_full_scale() -> None:
    class Loud(FakeRirs):
        def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
            return np.full((2, 1), 1000.0, np.float32)

    out = render(BinauralRenderer(Loud([1]), FakeClips({"a": 1.0}), mode="paper"), 1, [0])
    assert float(out.mix_bin.max()) == 32767 / 32768 and float(out.mix_bin.min()) == -1.0


@pytest.mark.parametrize("mode", ["causal", "paper"])
def test_an_item_does_not_depend_on_its_batch(mode: str) -> None:
    clips = FakeClips(CLIPS)
    rng = np.random.default_rng(3)
    lengths = [1500, 9000, 40, 12000, 5000]
    sources, seconds = rng.integers(0, 5, (9, 2)), rng.integers(0, 9, (9, 2))
    azimuths, receivers = rng.choice([0, 90, 180, 270], 9), rng.integers(0, 4, 9)
    scenes = [f"home{b % 3 * 'x'}" for b in range(9)]
    sounds = [[NAMES[i] for i in rng.integers(0, 3, 2)] for _ in range(9)]

    def run(items: list[int]) -> tuple[Rendered, Heard]:
        renderer = BinauralRenderer(FakeRirs(lengths), clips, mode=mode)
        listeners = Listeners(
            [scenes[b] for b in items],
            azimuths[items],
            receivers[items],
            sources[items],
            [sounds[b] for b in items],
            seconds[items],
        )
        return renderer.render(listeners, True), renderer.hear(listeners, True, True)

    together, heard = run(list(range(9)))
    unit = 1.001 / 32768 if mode == "paper" else 1e-7  # a half may round either way
    for b in range(9):
        alone, heard_alone = run([b])
        assert (together.mix_bin[b] - alone.mix_bin[0]).abs().max() <= unit
        assert (together.target_bin[b] - alone.target_bin[0]).abs().max() <= unit
        assert (together.target_mono[b] - alone.target_mono[0]).abs().max() == 0
        for name, whole, single in zip(heard._fields, heard, heard_alone):
            assert (whole[b] - single[0]).abs().max() <= 100 * unit, name


def test_rendering_again_changes_nothing_and_reads_nothing() -> None:
    rirs = FakeRirs([1000, 2000])
    renderer = BinauralRenderer(rirs, FakeClips(CLIPS))
    first = render(renderer, 2, [0, 1])
    assert rirs.num_reads == 2
    without_image = render(renderer, 2, [0, 1], target_bin=False)
    assert rirs.num_reads == 2
    assert without_image.target_bin is None
    assert (first.mix_bin - without_image.mix_bin).abs().max() == 0
    heard = renderer.hear(listeners_at(2, [0, 1]), target_bin=False, phases=False)
    assert rirs.num_reads == 2
    assert [name for name, value in heard._asdict().items() if value is not None] == [
        "mix_logmag",
        "target_mono_mag",
    ]


def test_cache_stays_within_its_bound_and_results_do_not_depend_on_it() -> None:
    rirs = FakeRirs([1000] * 20)
    small, large = (BinauralRenderer(rirs, FakeClips(CLIPS), cache_mb=mb) for mb in (1.0, 100.0))
    for start in range(0, 18, 3):
        sources = np.arange(start, start + 3)[:, None]
        zeros = np.zeros(3, int)
        at = Listeners(["home"] * 3, zeros, zeros, sources, [["a"]] * 3, sources)
        for a, b in zip(small.hear(at, True, True), large.hear(at, True, True)):
            assert (a - b).abs().max() == 0
        bound = 0
        for spectra in (small.rir_spectra, small.dry_spectra):
            cache = spectra.cache
            assert cache.num_bytes > 0
            assert cache.num_bytes == sum(x[0].untyped_storage().nbytes() for x in cache._items.values())
            bound += cache.num_bytes
        assert bound <= 2**20
    assert len(large.rir_spectra.cache) == 18 and len(small.rir_spectra.cache) < 18


def test_no_cache_at_all_still_renders() -> None:
    clips, rirs = FakeClips(CLIPS), FakeRirs([500, 600])
    none, some = BinauralRenderer(rirs, clips, cache_mb=0), BinauralRenderer(rirs, clips)
    assert (render(none, 2, [1]).mix_bin - render(some, 2, [1]).mix_bin).abs().max() == 0


@pytest.mark.parametrize("length", [1, 2, 2047, 2048, 2049, 9600, 16000, 16385, 70000])
def test_fft_size_leaves_a_second_free_of_wrapping(length: int) -> None:
    assert RATE + length - 1 <= fft_size(length) <= RATE + max(1.3 * length, length + 2048) + 1000


def test_spectrum_is_of_the_zero_padded_response() -> None:
    rirs = FakeRirs([300])
    key = ("home", 0, 1, 0)
    spectrum = RirSpectra(rirs, torch.device("cpu"), 10).get([key], 1000, {})[key]
    assert np.abs(spectrum.numpy() - np.fft.rfft(rirs.load(*key), 1000, axis=-1)).max() < 1e-5


def test_centred_spectrum_is_of_the_response_turned_to_its_middle() -> None:
    rirs = FakeRirs([300])
    key = ("home", 0, 1, 0)
    spectrum = RirSpectra(rirs, torch.device("cpu"), 10, centred=True).get([key], 1000, {})[key]
    padded = np.pad(rirs.load(*key), ((0, 0), (0, 700)))
    assert np.abs(spectrum.numpy() - np.fft.rfft(np.roll(padded, -149, axis=-1))).max() < 1e-5


@pytest.mark.parametrize("history", [True, False])
def test_dry_spectrum_is_of_the_window_that_ends_or_begins_with_the_second(history: bool) -> None:
    clips = FakeClips({"a": 3.2})
    dry = DrySpectra(clips, torch.device("cpu"), 10, history, 1.2)
    key = dry.wrap("a", 7)
    assert key == ("a", 1)
    loop = clips.samples("a")[: 3 * RATE] / 32768
    window = np.roll(loop, RATE)[-20000 % (3 * RATE) :] if history else loop[RATE : 2 * RATE]
    expected = np.fft.rfft(window[-20000:] if history else window, 20000)
    assert np.abs(dry.get([key], 20000)[key].numpy() - expected).max() < 1e-3
    assert np.abs(dry.samples([key])[0].numpy() - loop[RATE : 2 * RATE]).max() == 0


@pytest.mark.parametrize("mode", ["causal", "paper"])
@pytest.mark.parametrize("num_sources", [1, 3])
def test_hearing_is_the_plain_transform_of_the_waveforms(mode: str, num_sources: int) -> None:
    # more items than go through the transforms together, of two FFT lengths in turn
    renderer = BinauralRenderer(FakeRirs([900, 7000, 3000]), FakeClips(CLIPS), mode)
    at = listeners_at(num_sources, list(range(2 * CHUNK["cpu"] + 3)))
    at.sources[::2, -1] = 1
    for target_bin in (True, False):
        heard = renderer.hear(at, target_bin, phases=True)
        plain = plain_spectra(renderer.render(at, target_bin))
        for name, a, b in zip(heard._fields, heard, plain):
            assert (a is None) == (b is None) == (not target_bin and name.startswith("target_bin")), name
            if a is not None:
                assert (a - b).abs().max() < 2e-6 * b.abs().max(), name


@pytest.mark.parametrize("second", [-4, -1, 0, 1, 2, 7])
@pytest.mark.parametrize("n", [1, 16000, 16001, 40000, 200000])
def test_window_is_the_looping_clip(second: int, n: int) -> None:
    clip = np.arange(int(2.5 * RATE)).astype(np.int32)
    out = np.full(n, -1, np.int32)
    fill_window(clip, second, out)
    assert (out == np.arange((second + 1) * RATE - n, (second + 1) * RATE) % (2 * RATE)).all()


def test_mono_magnitude_has_rms_1_2_and_silence_stays_silent() -> None:
    class HalfSilent(FakeClips):
        def samples(self, name: str) -> np.ndarray:
            return super().samples(name) * np.int16(name != "b")

    renderer = BinauralRenderer(FakeRirs([10, 20]), HalfSilent(CLIPS))
    at = listeners_at(2, [0, 1])._replace(sounds=[["a", "c"], ["b", "c"]])
    heard = renderer.hear(at, target_bin=True, phases=True)
    rms = heard.target_mono_mag.square().mean((-2, -1)).sqrt()
    assert torch.allclose(rms, torch.tensor([[1.2], [0.0]]), atol=1e-5)
    assert torch.allclose(heard.target_mono_stft.abs(), heard.target_mono_mag, atol=1e-5)
    assert torch.allclose(torch.expm1(heard.mix_logmag), heard.mix_stft.abs(), rtol=1e-4, atol=1e-6)
    assert heard.target_bin_mag.shape == (2, 2, 512, 32)


def test_target_image_is_not_divided_by_the_number_of_sources() -> None:
    clips, rirs = FakeClips(CLIPS), FakeRirs([100, 1])
    one = render(BinauralRenderer(rirs, clips), 1, [0])
    two = render(BinauralRenderer(rirs, clips), 2, [0])
    assert (one.mix_bin - two.target_bin).abs().max() < 1e-7


def test_user_and_programming_mistakes_are_told_apart() -> None:
    clips = FakeClips(CLIPS)
    with pytest.raises(UserError, match=r"AUDIO.MODE is 'live', expected one of causal, paper"):
        BinauralRenderer(FakeRirs([1]), clips, mode="live")
    with pytest.raises(UserError, match="44100 Hz, expected 16000 Hz"):
        BinauralRenderer(FakeRirs([1], rate=44100), clips)
    renderer = BinauralRenderer(FakeRirs([1]), clips)
    zeros = np.zeros((2, 1), int)
    good = Listeners(["x"] * 2, zeros[:, 0], zeros[:, 0], zeros, [["a"]] * 2, zeros)
    with pytest.raises(ValueError, match=r"\(2, 1\) and \(1, 1\)"):
        renderer.render(good._replace(seconds=zeros[:1]), False)
    with pytest.raises(ValueError, match="expected 2 scenes"):
        renderer.hear(good._replace(scenes=["x"]), False, False)
    with pytest.raises(ValueError, match="expected 1 sounds an item"):
        renderer.render(good._replace(sounds=[["a"], ["a", "b"]]), False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("mode", ["causal", "paper"])
def test_cuda_gives_what_the_cpu_gives(mode: str) -> None:
    clips, rirs = FakeClips(CLIPS), FakeRirs([3000, 9000, 17000])
    cpu, cuda = (BinauralRenderer(rirs, clips, mode, device) for device in ("cpu", "cuda"))
    unit = 1.001 / 32768 if mode == "paper" else 1e-6
    assert (render(cuda, 3, [0, 4]).mix_bin.cpu() - render(cpu, 3, [0, 4]).mix_bin).abs().max() <= unit
    at = listeners_at(3, [0, 4])
    for a, b in zip(cuda.hear(at, True, True), cpu.hear(at, True, True)):
        assert (a.cpu() - b).abs().max() < 1e-2 * b.abs().max()


@pytest.mark.parametrize("mode", ["causal", "paper"])
def test_the_transforms_and_sums_of_other_devices_give_the_same(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, rirs = FakeClips(CLIPS), FakeRirs([3000, 9000, 17000])
    at = listeners_at(3, [0, 4, 1])
    on_cpu = BinauralRenderer(rirs, clips, mode)
    signals, heard = on_cpu.render(at, True), on_cpu.hear(at, True, True)
    monkeypatch.setattr(stft_module, "_in_scipy", lambda x: False)
    elsewhere = BinauralRenderer(rirs, clips, mode)
    monkeypatch.setattr(render_module, "_summed_one_by_one", render_module._summed_together)
    unit = 1.001 / 32768 if mode == "paper" else 1e-6
    assert (elsewhere.render(at, True).mix_bin - signals.mix_bin).abs().max() <= unit
    for name, a, b in zip(heard._fields, elsewhere.hear(at, True, True), heard):
        tolerance = 3e-4 if mode == "paper" else 3e-6  # one unit of int16 somewhere
        assert (a - b).abs().max() < tolerance * b.abs().max(), name


def test_several_threads_give_the_same() -> None:
    clips, rirs = FakeClips(CLIPS), FakeRirs([900, 7000])
    at = listeners_at(2, list(range(5 * CHUNK["cpu"])))
    threads = torch.get_num_threads()
    heard = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            heard.append(BinauralRenderer(rirs, clips).hear(at, True, True))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for name, one, three in zip(heard[0]._fields, *heard):
        assert torch.equal(one, three), name
