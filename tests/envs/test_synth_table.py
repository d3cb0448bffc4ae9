"""The lookup table: its numbers, its files, its identity, what is refused, and parts that survive an end."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from audio_separation.audio.descriptors import NAMES, PUBLISHED, describe
from audio_separation.audio.synths import make_synth
from audio_separation.envs.synth import table_jobs
from audio_separation.envs.synth.table import LookupTable, check_table, grid_params, load_table, save_table
from audio_separation.envs.synth.table_jobs import PARTS, TableJob, TableRun
from audio_separation.errors import UserError

SMALL = TableJob("sine", subdivisions=4, seconds=0.1)


def make_table(names=NAMES, settings=None, rows=12):
    rng = np.random.default_rng(0)
    params = grid_params([np.linspace(0, 1, 3), np.linspace(0, 1, rows // 3)])
    return LookupTable(params, rng.normal(size=(rows, len(names))), tuple(names), settings or {})


def compute(job, folder, overwrite=False):
    run = TableRun(job, folder, overwrite)
    assert run.kept is None and sum(run.compute(1)) == run.rows
    return run.finish()


def rewrite(folder, change):
    """Change the cells of the CSV, a list of rows with the header first."""
    path = folder / "lookup_table.csv"
    with path.open(newline="") as file:
        cells = list(csv.reader(file))
    change(cells)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(cells)


# ---- numbers --------------------------------------------------------------------------------------------
def test_rows_are_the_grid_and_the_mean_of_the_frames_after_the_onset(tmp_path):
    table = compute(SMALL, tmp_path / "t")
    assert table.num_params == 2 and table.param_names == ("param-0", "param-1")
    expected = [[a, b] for a in np.linspace(0, 1, 4) for b in np.linspace(0, 1, 4)]
    assert table.params.tolist() == expected
    assert [axis.tolist() for axis in table.grid()] == [np.linspace(0, 1, 4).tolist()] * 2
    synth = make_synth("sine")
    for row in (3, 6, 13):
        wave = synth.render(table.params[row], 0.1)[1024:]
        frames = [
            describe(wave[n * 512 : n * 512 + 1024], 44100)[0] for n in range(1 + (len(wave) - 1024) // 512)
        ]
        np.testing.assert_allclose(table.features[row], np.mean(frames, 0), rtol=1e-9, atol=1e-9)
    pitch = table.features[:, NAMES.index("pitch-Hz")].reshape(4, 4)
    np.testing.assert_allclose(
        pitch[1:, 1:], np.outer(20 + 2500 * np.linspace(0, 1, 4)[1:], np.ones(3)), rtol=2e-3
    )


def test_grid_is_told_from_what_is_none():
    table = make_table()
    assert [len(axis) for axis in table.grid()] == [3, 4]
    mixed = table.params[np.random.default_rng(1).permutation(12)]
    assert LookupTable(mixed, table.features.copy(), NAMES).grid() is None
    assert LookupTable(table.params[:7].copy(), table.features[:7].copy(), NAMES).grid() is None


def test_arrays_are_read_only():
    with pytest.raises(ValueError):
        make_table().params[0, 0] = 1


# ---- files ----------------------------------------------------------------------------------------------
def test_saved_and_loaded_to_the_bit(tmp_path):
    table = make_table(settings={"name": "x", "window": 1024})
    save_table(table, tmp_path)
    found = load_table(tmp_path)
    assert np.array_equal(found.params, table.params) and np.array_equal(found.features, table.features)
    assert found.names == NAMES and found.settings == table.settings and found.hash == table.hash
    assert load_table(tmp_path / "lookup_table.csv").hash == table.hash
    with (tmp_path / "lookup_table.csv").open() as file:
        assert file.readline().strip() == ",".join(["param-0", "param-1", *NAMES])


def test_hash_tells_settings_names_and_numbers_apart():
    table = make_table()
    features = table.features.copy()
    features[0, 0] = np.nextafter(features[0, 0], 9)
    others = [
        LookupTable(table.params, features, NAMES),
        LookupTable(table.params, table.features, NAMES, {"window": 1024}),
        LookupTable(table.params, table.features, NAMES[::-1]),
        make_table(PUBLISHED),
    ]
    assert len({table.hash, *(other.hash for other in others)}) == 5
    assert LookupTable(table.params.copy(), table.features.copy(), NAMES).hash == table.hash


@pytest.mark.parametrize("index", [False, True])
def test_a_published_table_needs_no_json_and_55_columns(tmp_path, index):
    table = make_table(PUBLISHED)
    save_table(table, tmp_path)
    (tmp_path / "lookup_table.json").unlink()
    if index:  # as pandas writes its index
        rewrite(
            tmp_path,
            lambda cells: [row.insert(0, "" if i == 0 else str(i - 1)) for i, row in enumerate(cells)],
        )
    found = load_table(tmp_path)
    assert (
        found.settings == {} and found.names == PUBLISHED and np.array_equal(found.features, table.features)
    )
    check_table(found, make_synth("sine"), 2)  # it does not say of which synthesizer it is


def test_columns_come_in_any_order(tmp_path):
    table = make_table()
    save_table(table, tmp_path)
    rewrite(tmp_path, lambda cells: [row.reverse() for row in cells])
    assert load_table(tmp_path).hash == table.hash


# ---- what is refused ------------------------------------------------------------------------------------
def set_cell(row, column, value):
    return lambda cells: cells[row].__setitem__(column, value)


def drop(column):
    return lambda cells: [row.pop(column) for row in cells]


@pytest.mark.parametrize(
    "change, says",
    [
        (set_cell(3, 5, "loud"), "is broken below its header .*'loud'"),
        (set_cell(3, 5, "nan"), "row 3 of mfcc-0 is nan, not a finite number"),
        (set_cell(3, 5, "inf"), "row 3 of mfcc-0 is inf"),
        (set_cell(2, 1, "1.5"), "row 2 of param-1 is 1.5, expected one in"),
        (set_cell(0, 5, "brightness"), "'brightness', which is no descriptor"),
        (set_cell(0, 5, "mfcc-1"), "has the column 'mfcc-1' twice"),
        (set_cell(0, 0, "param-7"), "expected columns param-0, param-1, .*found param-7, param-1"),
        (drop(20), "lacks 1 of the 55 published descriptors, such as chroma-B"),
        (lambda cells: cells[4].pop(), "is broken below its header"),
        (lambda cells: cells[0].pop(), "59 numbers a row"),
        (lambda cells: cells.__delitem__(slice(1, None)), "holds no row"),
        (set_cell(3, 5, "0.25"), "does not fit the hash in lookup_table.json"),
        (lambda cells: cells.pop(), "does not fit the hash"),
    ],
)
def test_a_damaged_csv(tmp_path, change, says):
    save_table(make_table(), tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(UserError, match=says) as error:
        load_table(tmp_path)
    assert "lookup_table.csv" in str(error.value) and "compute_lookup" in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": 3, "hash": "a"}', '{"settings": {}}'])
def test_a_damaged_json(tmp_path, text):
    save_table(make_table(), tmp_path)
    (tmp_path / "lookup_table.json").write_text(text)
    with pytest.raises(UserError, match="lookup_table.json is malformed"):
        load_table(tmp_path)


def test_no_table_or_no_text(tmp_path):
    with pytest.raises(UserError, match="there is no lookup table at .*compute_lookup.py"):
        load_table(tmp_path)
    (tmp_path / "lookup_table.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not a text file"):
        load_table(tmp_path)


def test_the_table_of_another_synth(tmp_path):
    table = compute(SMALL, tmp_path / "t")
    check_table(table, make_synth("sine"), 2)
    check_table(load_table(tmp_path / "t"), make_synth("sine"), 2)
    with pytest.raises(UserError, match="has 2 parameters, synthesizer fm3 has 3"):
        check_table(table, make_synth("fm3"), 3)
    with pytest.raises(UserError, match="rate_hz is 44100 in the table, 22050 here"):
        check_table(table, make_synth("sine", 22050), 2)


@pytest.mark.parametrize(
    "job, says",
    [
        (TableJob("sine", 3), "synthesizer sine has 2 parameters .*found --params 3"),
        (TableJob("organ"), "organ"),
        (TableJob("sine", subdivisions=1), "--subdivisions must be 2 or more"),
        (TableJob("sine", seconds=0.04), "--seconds must be at least 0.0464"),
        (TableJob("sine", seconds=float("nan")), "--seconds must be"),
        (TableJob("fm4", subdivisions=200), "makes 1600000000 rows"),
        (TableJob("sine", patch="synth.pd"), "--patch synth.pd needs Pure Data"),
        (TableJob("sine", window=1000001), "window must be an even number"),
    ],
)
def test_settings_that_cannot_be(tmp_path, job, says):
    with pytest.raises(UserError, match=says):
        TableRun(job, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_rows_are_asked_for_at_once_where_the_synth_can(tmp_path, monkeypatch):
    """Pure Data renders many rows in one process."""
    asked = []

    class Rows(type(make_synth("sine"))):
        def render_rows(self, rows, seconds):
            asked.append(len(rows))
            return np.stack([self.render(row, seconds) for row in rows])

    sine = make_synth("sine")
    synth = Rows(sine.name, sine.param_names, sine.rate_hz, sine._formula)
    monkeypatch.setattr(table_jobs, "_synth_of", lambda job: synth)
    monkeypatch.setattr(table_jobs, "PART_ROWS", 6)
    table = compute(SMALL, tmp_path / "rows")
    monkeypatch.undo()
    assert asked == [6, 6, 4] and table.hash == compute(SMALL, tmp_path / "single").hash


# ---- going on -------------------------------------------------------------------------------------------
def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(table_jobs, "PART_ROWS", 3)
    whole = compute(SMALL, tmp_path / "whole")
    run = TableRun(SMALL, tmp_path / "cut")
    begun = run.compute(1)
    assert [next(begun), next(begun)] == [3, 3]
    begun.close()
    parts = sorted((tmp_path / "cut" / PARTS).glob("*.npz"))
    assert 2 <= len(parts) < 6 and not (tmp_path / "cut" / "lookup_table.csv").exists()
    parts[0].write_bytes(parts[0].read_bytes()[:-30])  # damaged: computed again
    kept = parts[1].stat().st_mtime_ns
    other = parts[1].with_name(parts[1].name.replace("0000003", "0000012"))
    other.write_bytes(parts[1].read_bytes())  # of other rows than its name says: computed again
    again = TableRun(SMALL, tmp_path / "cut")
    assert sum(again.compute(1)) == 16
    assert parts[1].stat().st_mtime_ns == kept
    assert again.finish().hash == whole.hash
    for name in ("lookup_table.csv", "lookup_table.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [
        "lookup_table.csv",
        "lookup_table.json",
    ]


def test_a_finished_table_is_kept_and_another_refused(tmp_path):
    table = compute(SMALL, tmp_path)
    assert TableRun(SMALL, tmp_path).kept.hash == table.hash
    other = TableJob("sine", subdivisions=3, seconds=0.1)
    with pytest.raises(
        UserError, match="other settings .subdivisions is 4 there, 3 now.*--out .*--overwrite"
    ):
        TableRun(other, tmp_path)
    assert len(compute(other, tmp_path, overwrite=True).params) == 9
    rewrite(tmp_path, set_cell(3, 5, "1.0"))
    with pytest.raises(UserError, match="holds a lookup table that cannot be kept .*hash"):
        TableRun(other, tmp_path)


def test_the_synth_of_a_table(tmp_path):
    table = compute(SMALL, tmp_path)
    job = TableJob.of_table(table, None, None)
    assert job == TableJob("sine", 2, subdivisions=4, seconds=0.1) and job.build_synth().name == "sine"
    assert json.loads((tmp_path / "lookup_table.json").read_text())["settings"]["window"] == 1024
    with pytest.raises(UserError, match="does not say which synthesizer"):
        TableJob.of_table(make_table(), None, None)
