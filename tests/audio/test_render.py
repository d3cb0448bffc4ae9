"""The renderer against direct convolution of the whole clip, and its promises."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from audio_fakes import RATE, FakeClips, FakeRirs

from audio_separation.audio import stft as stft_module
from audio_separation.audio.render import BinauralRenderer, Rendered, fill_window, observation_spectra
from audio_separation.audio.spectra import RirSpectra, fft_size
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


def render(
    renderer: BinauralRenderer, num_sources: int, seconds: list[int], target_bin: bool = True
) -> Rendered:
    batch = len(seconds)
    return renderer.render(
        ["home"] * batch,
        [90] * batch,
        [7] * batch,
        np.tile(np.arange(num_sources), (batch, 1)),
        [NAMES[:num_sources]] * batch,
        np.tile(np.array(seconds)[:, None], (1, num_sources)),
        target_bin,
    )


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

    def run(items: list[int]) -> Rendered:
        renderer = BinauralRenderer(FakeRirs(lengths), clips, mode=mode)
        return renderer.render(
            [scenes[b] for b in items],
            azimuths[items],
            receivers[items],
            sources[items],
            [sounds[b] for b in items],
            seconds[items],
            True,
        )

    together = run(list(range(9)))
    unit = 1.001 / 32768 if mode == "paper" else 1e-7  # a half may round either way
    for b in range(9):
        alone = run([b])
        assert (together.mix_bin[b] - alone.mix_bin[0]).abs().max() <= unit
        assert (together.target_bin[b] - alone.target_bin[0]).abs().max() <= unit
        assert (together.target_mono[b] - alone.target_mono[0]).abs().max() == 0


def test_rendering_again_changes_nothing_and_reads_nothing() -> None:
    rirs = FakeRirs([1000, 2000])
    renderer = BinauralRenderer(rirs, FakeClips(CLIPS))
    first = render(renderer, 2, [0, 1])
    assert rirs.num_reads == 2
    without_image = render(renderer, 2, [0, 1], target_bin=False)
    assert rirs.num_reads == 2
    assert without_image.target_bin is None
    assert (first.mix_bin - without_image.mix_bin).abs().max() == 0
    assert "target_bin_mag" not in renderer.spectra(without_image)


def test_cache_stays_within_its_bound_and_results_do_not_depend_on_it() -> None:
    rirs = FakeRirs([1000] * 20)
    small, large = (BinauralRenderer(rirs, FakeClips(CLIPS), cache_mb=mb) for mb in (1.0, 100.0))
    for start in range(0, 18, 3):
        sources = np.arange(start, start + 3)[:, None]
        args = (["home"] * 3, [0] * 3, [0] * 3, sources, [["a"]] * 3, np.zeros((3, 1), int), False)
        assert (small.render(*args).mix_bin - large.render(*args).mix_bin).abs().max() == 0
        cache = small._spectra.cache
        assert 0 < cache.num_bytes <= 2**20
        assert cache.num_bytes == sum(x[0].untyped_storage().nbytes() for x in cache._items.values())
    assert len(large._spectra.cache) == 18 and len(small._spectra.cache) < 18


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


@pytest.mark.parametrize("second", [-4, -1, 0, 1, 2, 7])
@pytest.mark.parametrize("n", [1, 16000, 16001, 40000, 200000])
def test_window_is_the_looping_clip(second: int, n: int) -> None:
    clip = np.arange(int(2.5 * RATE)).astype(np.int32)
    out = np.full(n, -1, np.int32)
    fill_window(clip, second, out)
    assert (out == np.arange((second + 1) * RATE - n, (second + 1) * RATE) % (2 * RATE)).all()


def test_mono_magnitude_has_rms_1_2_and_silence_stays_silent() -> None:
    renderer = BinauralRenderer(FakeRirs([10, 20]), FakeClips(CLIPS))
    rendered = render(renderer, 2, [0, 1])
    rendered.target_mono[1] = 0
    spectra = observation_spectra(rendered, 1.2)
    rms = spectra["target_mono_mag"].square().mean((-2, -1)).sqrt()
    assert torch.allclose(rms, torch.tensor([[1.2], [0.0]]), atol=1e-5)
    assert torch.allclose(spectra["target_mono_stft"].abs(), spectra["target_mono_mag"], atol=1e-5)
    assert torch.allclose(torch.expm1(spectra["mix_logmag"]), spectra["mix_stft"].abs(), rtol=1e-4, atol=1e-6)
    assert spectra["target_bin_mag"].shape == (2, 2, 512, 32)


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
    with pytest.raises(ValueError, match=r"\(2, 1\) and \(1, 1\)"):
        renderer.render(["x"] * 2, [0] * 2, [0] * 2, zeros, [["a"]] * 2, zeros[:1], False)
    with pytest.raises(ValueError, match="expected 2 scenes"):
        renderer.render(["x"], [0] * 2, [0] * 2, zeros, [["a"]] * 2, zeros, False)
    with pytest.raises(ValueError, match="expected 1 sounds an item"):
        renderer.render(["x"] * 2, [0] * 2, [0] * 2, zeros, [["a"], ["a", "b"]], zeros, False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("mode", ["causal", "paper"])
def test_cuda_gives_what_the_cpu_gives(mode: str) -> None:
    clips, rirs = FakeClips(CLIPS), FakeRirs([3000, 9000, 17000])
    cpu, cuda = (render(BinauralRenderer(rirs, clips, mode, device), 3, [0, 4]) for device in ("cpu", "cuda"))
    unit = 1.001 / 32768 if mode == "paper" else 1e-6
    assert (cuda.mix_bin.cpu() - cpu.mix_bin).abs().max() <= unit
    on_cuda, on_cpu = observation_spectra(cuda, 1.2), observation_spectra(cpu, 1.2)
    for name, value in on_cpu.items():
        assert (on_cuda[name].cpu() - value).abs().max() < 1e-2 * value.abs().max()


@pytest.mark.parametrize("mode", ["causal", "paper"])
def test_the_torch_transforms_of_other_devices_give_the_same(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, rirs = FakeClips(CLIPS), FakeRirs([3000, 9000, 17000])
    in_scipy = render(BinauralRenderer(rirs, clips, mode), 3, [0, 4])
    spectra = observation_spectra(in_scipy, 1.2)
    monkeypatch.setattr(stft_module, "_in_scipy", lambda x: False)
    in_torch = render(BinauralRenderer(rirs, clips, mode), 3, [0, 4])
    unit = 1.001 / 32768 if mode == "paper" else 1e-6
    assert (in_torch.mix_bin - in_scipy.mix_bin).abs().max() <= unit
    for name, value in observation_spectra(in_scipy, 1.2).items():
        assert (value - spectra[name]).abs().max() < 1e-4, name
