"""Policy: one sequence call against the step loop, sizes, vision choices."""

from __future__ import annotations

import sys

import pytest
import torch

from audio_separation.config.default import get_config
from audio_separation.errors import UserError
from audio_separation.models.build import build_memory, build_policy, build_separator
from audio_separation.models.encoders import VisualEncoder
from audio_separation.models.policy import Policy


def small_policy(vision: str = "rgb", image_size: int = 32) -> Policy:
    torch.manual_seed(5)
    return Policy(
        vision=vision,
        image_size=image_size,
        visual_channels=(4, 8, 4),
        audio_channels=(4, 8, 4),
        hidden_size=16,
    )


def observations(*batch: int, pixels: int = 32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    return {
        "rgb": torch.randint(256, (*batch, pixels, pixels, 3), generator=generator).to(torch.uint8),
        "depth": torch.rand(*batch, pixels, pixels, 1, generator=generator),
        "bin_mag": torch.rand(*batch, 2, 512, 32, generator=generator),
        "refined_mono": torch.rand(*batch, 1, 512, 32, generator=generator),
    }


@pytest.mark.parametrize(
    "not_done",
    [
        [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]],
        [[0, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 1]],
        [[1, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 1]],
    ],
)
def test_sequence_equals_step_loop(not_done):
    policy, obs = small_policy("rgbd"), observations(4, 3)
    hidden = hidden0 = torch.randn(3, 16, generator=torch.Generator().manual_seed(7))
    mask = torch.tensor(not_done)
    logits, value = policy.evaluate_sequence(**obs, hidden0=hidden0, not_done=mask)
    for t in range(4):
        step = policy(**{key: x[t] for key, x in obs.items()}, hidden=hidden, not_done=mask[t])
        hidden = step.hidden
        torch.testing.assert_close(logits[t], step.logits)
        torch.testing.assert_close(value[t], step.value)
    assert logits.shape == (4, 3, 3) and value.shape == (4, 3)


def test_reset_forgets_hidden():
    policy, obs = small_policy(), observations(2)
    state = torch.randn(2, 16)
    fresh = policy(**obs, hidden=policy.initial_hidden(2), not_done=torch.ones(2))
    reset = policy(**obs, hidden=state, not_done=torch.tensor([False, True]))
    torch.testing.assert_close(reset.hidden[0], fresh.hidden[0])
    assert (reset.hidden[1] - fresh.hidden[1]).abs().max() > 1e-3


def test_untrained_actor_is_nearly_uniform():
    output = small_policy()(**observations(4), hidden=torch.zeros(4, 16), not_done=torch.ones(4))
    assert (output.logits.softmax(-1) - 1 / 3).abs().max() < 0.02


def test_gradients_do_not_reach_the_separators():
    policy, obs = small_policy(), observations(2)
    obs["bin_mag"].requires_grad_()
    obs["refined_mono"].requires_grad_()
    output = policy(**obs, hidden=policy.initial_hidden(2), not_done=torch.ones(2))
    (output.logits.square().sum() + output.value.sum()).backward()
    assert obs["bin_mag"].grad is None and obs["refined_mono"].grad is None
    assert all(p.grad is not None for p in policy.parameters())


@pytest.mark.parametrize("vision", ["rgb", "depth", "rgbd", "none"])
@pytest.mark.parametrize("image_size", [32, 64])
def test_vision_choices_use_what_they_say(vision, image_size):
    policy, obs = small_policy(vision, image_size), observations(2, pixels=64)
    hidden, ones = policy.initial_hidden(2), torch.ones(2)
    base = policy(**obs, hidden=hidden, not_done=ones).hidden
    for key, used in (("rgb", "rgb" in vision), ("depth", vision in ("depth", "rgbd"))):
        changed = policy(**{**obs, key: obs[key] // 2}, hidden=hidden, not_done=ones).hidden
        assert torch.equal(base, changed) != used, key
        if used:
            with pytest.raises(ValueError, match=f"needs {key}, got None"):
                policy(**{**obs, key: None}, hidden=hidden, not_done=ones)
        else:
            without = policy(**{**obs, key: None}, hidden=hidden, not_done=ones).hidden
            assert torch.equal(base, without)


def test_images_are_area_averaged_and_small_ones_refused():
    encoder = VisualEncoder("rgb", 32, (4, 8, 4), 16)
    small = torch.randint(256, (1, 32, 32, 3)).to(torch.uint8)
    # every pixel four times, the mean is the small image again
    large = small.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    torch.testing.assert_close(encoder(large, None), encoder(small, None))
    with pytest.raises(UserError, match=r"POLICY\.IMAGE_SIZE is 32, but the images have 16x16"):
        encoder(small[:, ::2, ::2], None)


def test_resnet18_needs_torchvision_only_when_chosen(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    small_policy()
    with pytest.raises(UserError, match=r"POLICY\.VISUAL_ENCODER is resnet18, which needs torchvision"):
        VisualEncoder("rgb", 64, (4, 8, 4), 16, encoder="resnet18")


def test_resnet18_encodes():
    pytest.importorskip("torchvision")
    encoder = VisualEncoder("rgbd", 64, (4, 8, 4), 16, encoder="resnet18")
    obs = observations(2, pixels=64)
    assert encoder(obs["rgb"], obs["depth"]).shape == (2, 16)


def test_builders_make_what_the_config_says():
    small = [
        "SEPARATOR.CHANNELS",
        "[8, 16, 16]",
        "MEMORY.CHANNELS",
        "4",
        "MEMORY.LAYERS",
        "1",
        "MEMORY.HEADS",
        "4",
    ]
    small += ["POLICY.IMAGE_SIZE", "64", "POLICY.VISUAL_CHANNELS", "[16, 32, 16]", "POLICY.HIDDEN", "128"]
    config = get_config(overrides=small)
    separator, memory, policy = build_separator(config, 7), build_memory(config), build_policy(config)
    assert separator.embedding.num_embeddings == 7
    assert [block.conv.out_channels for block in separator.bin_unet.encoder] == [8, 16, 16]
    assert memory.token_size == 256 and len(memory.layers) == 1
    assert policy.gru.input_size == 3 * 128


@pytest.mark.parametrize(
    ("key", "value", "build"),
    [
        ("SEPARATOR.VARIANT", "best", lambda c: build_separator(c, 3)),
        ("SEPARATOR.CHANNELS", "[8, 8, 8, 8, 8, 8]", lambda c: build_separator(c, 3)),
        ("SEPARATOR.CHANNELS", "[]", lambda c: build_separator(c, 3)),
        ("SEPARATOR.NUM_BANDS", "7", lambda c: build_separator(c, 3)),
        ("SEPARATOR.MASK_MAX", "0.5", lambda c: build_separator(c, 3)),
        ("SEPARATOR.NUM_BANDS", "256", build_memory),
        ("MEMORY.HEADS", "7", build_memory),
        ("MEMORY.OUTPUT", "mask", build_memory),
        ("POLICY.VISION", "thermal", build_policy),
        ("POLICY.VISUAL_ENCODER", "vit", build_policy),
        ("POLICY.AUDIO_CHANNELS", "[8, 8]", build_policy),
    ],
)
def test_builders_name_the_key_that_is_wrong(key, value, build):
    with pytest.raises(UserError, match=key):
        build(get_config(overrides=[key, value]))
