"""generate_homes.py --sounds-only: the corpus and nothing else."""

from __future__ import annotations

from script_module import load_script

from audio_separation.scenes.generate import corpus, dataset


def test_only_the_corpus_is_made_and_made_once(tmp_path, monkeypatch, capsys):
    made = []

    def make_corpus(root, seed, preset, jobs):
        root.mkdir(parents=True)
        (root / "corpus.json").write_text("{}")
        made.append((root, seed))

    monkeypatch.setattr(corpus, "generate_corpus", make_corpus)
    monkeypatch.setattr(dataset, "make_scenes", lambda *_: made.append("homes"))
    script = load_script("generate_homes")
    words = ["--sounds-only", "--out", str(tmp_path), "--seed", "3"]
    script.generate(script.parse_arguments(words))
    script.generate(script.parse_arguments(words))
    root = tmp_path / "data" / "audio_data" / "synthetic"
    assert made == [(root, 3)]
    assert str(root) in capsys.readouterr().out
    assert not (tmp_path / "sound_spaces").exists()
