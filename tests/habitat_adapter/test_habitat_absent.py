"""Where habitat-lab is not installed: the package imports, and asking for more says what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from habitat_setup import has_habitat_lab

from audio_separation.envs.habitat import register
from audio_separation.errors import UserError


def test_nothing_of_habitat_is_imported_before_it_is_asked_for():
    code = (
        "import sys, audio_separation.envs, audio_separation.envs.habitat; "
        "print([m for m in sys.modules if m.split('.')[0] in ('habitat', 'habitat_sim', 'hydra', 'gym', 'magnum')])"
    )
    repo = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(has_habitat_lab(), reason="habitat-lab is installed")
def test_registering_says_what_is_missing():
    with pytest.raises(
        UserError, match=r"habitat-lab and habitat-sim .*conda env create -f environment\.yml"
    ):
        register()
