"""Run folders, epochs, the last checkpoint, and the JSON beside it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import pytest

from frcnn.config import Config
from frcnn.errors import CheckpointError, ConfigError
from frcnn.newest import saved_time
from frcnn.runs import (
    best_path,
    checkpoint_path,
    claim_folder,
    epoch_of,
    epochs_done,
    find_best,
    find_last,
    goes_on,
    is_best,
    is_run_folder,
    last_checkpoint,
    load_best,
    load_metadata,
    metadata_path,
    run_folder,
    save_best,
    save_metadata,
)


def make(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(("path", "epoch"), [
    ("logs/ury20180101T0000/mask_rcnn_ury_0050.h5", 50),
    (r"C:\Users\me\logs\ury20180101T0000\mask_rcnn_ury_0050.h5", 50),
    ("/elsewhere/mask_rcnn_ury_0050.h5", 50),
    ("mask_rcnn_ury2_0007.h5", 7),
    ("mask_rcnn_ury_12345.h5", 12345),
    ("mask_rcnn_my-cells_x_0001.h5", 1),
    ("mask_rcnn_coco.h5", 0),
    ("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", 0),
    ("ury20180101T0000/weights.h5", 0),
    ("mask_rcnn_ury_0050.h5/other.h5", 0),
    ("", 0),
])  # fmt: skip
def test_epoch_comes_from_the_files_name_wherever_it_lies(path, epoch):
    assert epoch_of(path) == epoch


@pytest.mark.smoke
def test_checkpoint_names_are_the_references(tmp_path):
    path = checkpoint_path(tmp_path, "Ury", 7)
    assert path == os.path.join(tmp_path, "mask_rcnn_ury_0007.h5")
    assert epoch_of(path) == 7
    assert epoch_of(checkpoint_path("{run}", "ury", 123456)) == 123456


@pytest.mark.parametrize(("folder", "is_one"), [
    ("logs/ury20180101T0000", True), ("URY20180101T0000", True), ("ury20180101T0000/", True),
    (r"D:\logs\ury20180101T0000", True), ("ury220180101T0000", False), ("ury2018", False),
    ("xury20180101T0000", False), ("", False),
])  # fmt: skip
def test_run_folders_are_told_from_others(folder, is_one):
    assert is_run_folder(folder, "ury") is is_one


# --- the last checkpoint --------------------------------------------------------------------


def test_find_last_takes_the_newest_runs_highest_epoch(tmp_path):
    make(tmp_path / "ury20171231T2359", "mask_rcnn_ury_0099.h5")
    newest = make(tmp_path / "ury20180101T0000", "mask_rcnn_ury_0049.h5", "mask_rcnn_ury_0050.h5",
                  "mask_rcnn_ury_0050.json", "events.out", ".mask_rcnn_ury_0051.h5.77.tmp")
    make(tmp_path / "ury220190101T0000", "mask_rcnn_ury2_0001.h5")  # a run of "ury2"
    make(tmp_path / "coco20200101T0000", "mask_rcnn_coco_0160.h5")
    make(tmp_path, "ury20210101T0000")  # a file
    assert find_last(tmp_path, "ury") == str(newest / "mask_rcnn_ury_0050.h5")
    assert find_last(str(tmp_path), "URY") == str(newest / "mask_rcnn_ury_0050.h5")
    assert find_last(tmp_path, "ury2").endswith("mask_rcnn_ury2_0001.h5")


def test_find_last_of_any_name_is_the_newest_by_date(tmp_path):
    make(tmp_path / "ury20180101T0000", "mask_rcnn_ury_0050.h5")
    make(tmp_path / "cells20180101T0001", "mask_rcnn_cells_0003.h5")
    make(tmp_path / "zebra20170101T0000", "mask_rcnn_zebra_0009.h5")
    make(tmp_path / "empty20190101T0000")
    make(tmp_path / "notes", "mask_rcnn_ury_0099.h5")
    assert find_last(tmp_path).endswith("mask_rcnn_cells_0003.h5")
    assert find_last(tmp_path, "ury").endswith("mask_rcnn_ury_0050.h5")


def test_find_last_passes_over_a_run_that_wrote_nothing(tmp_path):
    make(tmp_path / "ury20180101T0000", "mask_rcnn_ury_0050.h5")
    make(tmp_path / "ury20190101T0000", "config.json")
    assert find_last(tmp_path, "ury").endswith("mask_rcnn_ury_0050.h5")


def test_find_last_counts_past_9999(tmp_path):
    make(tmp_path / "ury20180101T0000", "mask_rcnn_ury_9999.h5", "mask_rcnn_ury_10000.h5")
    assert epoch_of(find_last(tmp_path, "ury")) == 10000


def test_find_last_without_anything_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent"):
        find_last(tmp_path / "absent", "ury")
    with pytest.raises(FileNotFoundError, match="no run folder of 'ury'"):
        find_last(tmp_path, "ury")
    with pytest.raises(FileNotFoundError, match=r"no run folder, as ury20180101T0000;"):
        find_last(tmp_path)
    make(tmp_path / "cells20180101T0000", "mask_rcnn_cells_0001.h5")
    with pytest.raises(FileNotFoundError, match=r"of 'ury', .* only those of 'cells'"):
        find_last(tmp_path, "ury")
    make(tmp_path / "ury20180101T0000")
    with pytest.raises(FileNotFoundError, match="1 run folders of 'ury', none with a checkpoint"):
        find_last(tmp_path, "ury")


# --- the best checkpoint --------------------------------------------------------------------


@pytest.mark.parametrize(("path", "is_one"), [
    ("logs/ury20180101T0000/mask_rcnn_ury_best.h5", True), (r"C:\logs\mask_rcnn_ury_best.h5", True),
    ("logs/best_mask_rcnn_ury.h5", True), ("best_mask_rcnn_ury_0003.h5", True),
    ("config_best_mask_rcnn_ury.json", False), (".best_mask_rcnn_ury.h5.77.tmp", False),
    ("best_mask_rcnn_.h5", False), ("mask_rcnn_ury_0003_best.h5", True),
    ("mask_rcnn_best_0003.h5", False),
    ("mask_rcnn_ury_best.json", False), ("mask_rcnn_ury_best.h5/other.h5", False),
    (".mask_rcnn_ury_best.h5.77.tmp", False), ("mask_rcnn__best_0001.h5", False), ("", False),
])  # fmt: skip
def test_the_best_checkpoint_is_told_by_its_name(path, is_one):
    assert is_best(path) is is_one
    assert not is_best(checkpoint_path("logs", "best", 3)) and is_best(best_path("logs", "BEST"))
    if is_one:
        assert epoch_of(path) == epochs_done(path) == 0  # there is no JSON beside it


def test_the_best_checkpoint_is_a_copy_with_its_figures(tmp_path, config):
    source, best = checkpoint_path(tmp_path, "ury", 3), best_path(tmp_path, "URY")
    (tmp_path / "mask_rcnn_ury_0003.h5").write_bytes(b"weights")
    save_metadata(source, config, ["BG", "eryth", "leuko"], [None, 5, 9])
    saved = save_best(source, best, 3, {"val_AP": np.float32(0.5), "val_AP50": 0.75})
    assert (saved.path, saved.epoch, saved.ap) == (best, 3, 0.5) and load_best(best) == saved
    assert epochs_done(best) == epochs_done(source) == 3
    with open(best, "rb") as file:
        assert file.read() == b"weights"
    assert load_metadata(best).config_json == load_metadata(source).config_json
    assert load_metadata(best).source_class_ids == [None, 5, 9]
    os.remove(best)
    assert load_best(best) is None and epochs_done(best) == 0


def test_a_best_checkpoint_that_cannot_be_copied_is_named(tmp_path, config):
    with pytest.raises(CheckpointError, match=r"best_mask_rcnn_ury\.h5 cannot be written"):
        save_best(checkpoint_path(tmp_path, "ury", 3), best_path(tmp_path, "ury"), 3,
                  {"val_AP": 0.5})
    assert os.listdir(tmp_path) == []


def test_find_best_takes_the_newest_run(tmp_path):
    make(tmp_path / "ury20180101T0000", "mask_rcnn_ury_0050.h5", "mask_rcnn_ury_best.h5")
    newest = make(tmp_path / "ury20190101T0000", "mask_rcnn_ury_0002.h5", "mask_rcnn_ury_best.h5",
                  "config_mask_rcnn_ury_best.json")
    make(tmp_path / "ury20200101T0000", "plan.json")  # nothing was trained
    best = str(newest / "mask_rcnn_ury_best.h5")
    assert find_best(tmp_path, "ury") == find_best(tmp_path) == best
    # which never is the newest
    assert find_last(tmp_path, "ury") == str(newest / "mask_rcnn_ury_0002.h5")
    (newest / "mask_rcnn_ury_0002.h5").unlink()  # only the best one was kept
    assert find_best(tmp_path, "ury") == best
    assert find_last(tmp_path, "ury").endswith("ury20180101T0000/mask_rcnn_ury_0050.h5")


def references_find_last(folder):
    """What the reference's `find_last` takes of a run's folder."""
    return sorted(filter(lambda name: name.startswith("mask_rcnn"), os.listdir(folder)))[-1]


@pytest.mark.parametrize("name", ["ury", "URY", "best", "x_best", "0", "zz"])
def test_the_reference_finds_the_newest_checkpoint(tmp_path, config, name):
    """Of all files that a training writes, the last by name that begin with mask_rcnn."""
    for epoch in (1, 2, 10):
        path = checkpoint_path(tmp_path, name, epoch)
        (tmp_path / os.path.basename(path)).write_bytes(b"weights")
        save_metadata(path, config, ["BG", "eryth", "leuko"])
        save_best(path, best_path(tmp_path, name), epoch, {"val_AP": epoch / 10})
        make(tmp_path, "history.json", "report.html", f"training_state_{epoch:04d}_000000.state")
        assert references_find_last(tmp_path) == os.path.basename(path)
    found = sorted(entry for entry in os.listdir(tmp_path) if is_best(entry))
    assert found == [f"best_mask_rcnn_{name.lower()}.h5"]
    assert (tmp_path / f"config_best_mask_rcnn_{name.lower()}.json").is_file()


def test_a_run_of_an_older_version_keeps_its_best_checkpoint(tmp_path, config):
    folder = make(tmp_path / "ury20180101T0000", "mask_rcnn_ury_0001.h5")
    old, path = folder / "mask_rcnn_ury_best.h5", checkpoint_path(folder, "ury", 1)
    save_metadata(path, config, ["BG", "eryth", "leuko"])
    save_best(path, old, 1, {"val_AP": 0.5})
    assert best_path(folder, "URY") == str(old) and load_best(best_path(folder, "ury")).ap == 0.5
    assert find_best(tmp_path, "ury") == str(old)
    save_best(path, best_path(folder, "ury"), 1, {"val_AP": 0.75})
    assert [entry for entry in os.listdir(folder) if is_best(entry)] == [old.name]
    new = make(folder, "best_mask_rcnn_ury.h5") / "best_mask_rcnn_ury.h5"  # by hand
    assert find_best(tmp_path) == best_path(folder, "ury") == str(new)


def test_find_best_takes_no_older_run_instead(tmp_path):
    make(tmp_path / "ury20180101T0000", "mask_rcnn_ury_0050.h5", "mask_rcnn_ury_best.h5")
    make(tmp_path / "ury20190101T0000", "mask_rcnn_ury_0002.h5")
    with pytest.raises(FileNotFoundError, match=r"ury20190101T0000, has no best checkpoint"):
        find_best(tmp_path, "ury")
    with pytest.raises(FileNotFoundError, match="no run folder of 'cells'"):
        find_best(tmp_path, "cells")
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent"):
        find_best(tmp_path / "absent")


def write(folder, epoch, saved=None):
    """A checkpoint that is empty, with a JSON that says when it was saved."""
    (folder / f"mask_rcnn_ury_{epoch:04d}.h5").touch()
    data = {} if saved is None else {"saved": saved}
    (folder / f"config_mask_rcnn_ury_{epoch:04d}.json").write_text(json.dumps(data))


def history(folder, last):
    (folder / "history.json").write_text(json.dumps({"epoch": list(range(1, last + 1))}))


def test_the_last_checkpoint_is_of_the_newest_line(tmp_path):
    """Four epochs, then back to the second, and on to the third."""
    folder = make(tmp_path / "ury20180101T0000")
    for epoch, minute in ((1, 1), (2, 2), (4, 4), (3, 9)):
        write(folder, epoch, f"2018-01-01T00:0{minute}:00+00:00")
    assert find_last(tmp_path, "ury") == str(folder / "mask_rcnn_ury_0003.h5")  # by the times
    history(folder, 3)
    assert find_last(tmp_path, "ury") == last_checkpoint(folder) \
        == str(folder / "mask_rcnn_ury_0003.h5")
    # A checkpoint that was written just before a crash, which the history does not have yet.
    write(folder, 4, "2018-01-01T00:10:00+00:00")
    assert epoch_of(find_last(tmp_path)) == 4


def test_files_without_times_go_by_the_history(tmp_path):
    folder = make(tmp_path / "ury20180101T0000")
    for epoch in (1, 2, 3, 4):
        write(folder, epoch)
    history(folder, 3)
    os.utime(folder / "mask_rcnn_ury_0001.h5")  # as copying does; it means nothing
    assert epoch_of(find_last(tmp_path)) == 3
    history(folder, 9)  # whose checkpoint is not there
    assert epoch_of(find_last(tmp_path)) == 4
    for content in ("{", "[]", '{"epoch": []}', '{"epoch": [null]}', '{"epoch": 7}', "[" * 100000):
        (folder / "history.json").write_text(content)
        assert epoch_of(find_last(tmp_path)) == 4
    for content in ("[", "[]", '{"saved": 7}', '{"saved": "yesterday"}', '{"saved": "0001-01-01"}'):
        (folder / "config_mask_rcnn_ury_0002.json").write_text(content)
        assert epoch_of(find_last(tmp_path)) == 4


def test_a_run_that_was_continued_is_newer_than_one_that_began_after_it(tmp_path):
    first, second = make(tmp_path / "ury20180101T0000"), make(tmp_path / "ury20180102T0000")
    write(first, 7, "2018-01-01T01:00:00+00:00")
    write(second, 2, "2018-01-02T01:00:00+00:00")
    assert find_last(tmp_path) == str(second / "mask_rcnn_ury_0002.h5")
    write(first, 8, "2018-01-03T01:00:00+00:00")
    assert find_last(tmp_path) == str(first / "mask_rcnn_ury_0008.h5")
    write(make(tmp_path / "ury20180104T0000"), 1)  # of an older version: since its beginning
    assert find_last(tmp_path).endswith("ury20180104T0000/mask_rcnn_ury_0001.h5")
    write(make(tmp_path / "ury99999999T9999"), 1)  # no date
    assert find_last(tmp_path).endswith("ury20180104T0000/mask_rcnn_ury_0001.h5")


def test_runs_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    folder = make(tmp_path / "logs" / "ury20180101T0000", "mask_rcnn_ury_0001.h5")
    assert find_last("~/logs") == str(folder / "mask_rcnn_ury_0001.h5")
    assert metadata_path("~/logs/a.h5") == tmp_path / "logs" / "config_a.json"


# --- where a run goes on --------------------------------------------------------------------


def test_a_run_goes_on_in_its_own_folder(tmp_path):
    folder = make(tmp_path / "here" / "ury20180101T0000", "mask_rcnn_ury_0050.h5")
    path = folder / "mask_rcnn_ury_0050.h5"
    assert goes_on(path, "ury") and not goes_on(path, "cells") and not goes_on(None, "ury")
    assert run_folder(tmp_path / "logs", "ury", path) == str(folder)


@pytest.mark.parametrize("path", [
    r"C:\logs\ury20180101T0000\mask_rcnn_ury_0050.h5",
    "/gone/ury20180101T0000/mask_rcnn_ury_0050.h5"])
def test_a_folder_of_another_machine_is_that_name_in_the_logs(tmp_path, path):
    assert run_folder(tmp_path, "ury", path) == os.path.join(tmp_path, "ury20180101T0000")


@pytest.mark.parametrize("path", [
    None, "mask_rcnn_ury_0050.h5", "downloads/mask_rcnn_ury_0050.h5",
    "coco20180101T0000/mask_rcnn_coco_0160.h5"])
def test_else_a_new_folder_with_the_minute_in_its_name(tmp_path, path):
    folder = run_folder(tmp_path, "Ury", path, now=datetime(2026, 1, 2, 3, 4, 59))
    assert folder == os.path.join(tmp_path, "ury20260102T0304")
    assert not os.path.exists(folder)


def test_a_new_run_never_gets_the_folder_of_another(tmp_path):
    now = datetime(2026, 12, 31, 23, 59)
    make(tmp_path / "ury20261231T2359", "mask_rcnn_ury_0001.h5")
    assert run_folder(tmp_path, "ury", now=now) == str(tmp_path / "ury20270101T0000")
    make(tmp_path / "ury20270101T0000")  # of a run that has written nothing yet
    assert run_folder(tmp_path, "ury", now=now) == str(tmp_path / "ury20270101T0001")


def test_of_runs_that_start_at_once_each_claims_its_own_folder(tmp_path):
    wanted = run_folder(tmp_path / "logs", "ury", now=datetime(2026, 1, 2, 3, 58))
    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(claim_folder, [wanted] * 6))
    assert sorted(map(os.path.basename, claimed)) == [
        f"ury20260102T{minute}" for minute in ("0358", "0359", "0400", "0401", "0402", "0403")]
    assert sorted(claimed) == sorted(map(str, (tmp_path / "logs").iterdir()))
    make(tmp_path / "logs" / "ury20260102T0402", "mask_rcnn_ury_0001.h5")
    assert find_last(tmp_path / "logs", "ury").endswith("ury20260102T0402/mask_rcnn_ury_0001.h5")


def test_a_folder_of_another_kind_of_name_is_taken_as_it_is(tmp_path):
    folder = str(tmp_path / "my own" / "place")
    assert claim_folder(folder) == claim_folder(folder) == folder and os.path.isdir(folder)


# --- metadata -------------------------------------------------------------------------------


@pytest.fixture
def config():
    return Config(NAME="ury", NUM_CLASSES=3, BACKBONE="densenet121", IMAGE_MAX_DIM=256,
                  IMAGE_MIN_DIM=256, MEAN_PIXEL=np.array([1.5, 2.5, 3.5]))  # fmt: skip


@pytest.mark.smoke
def test_metadata_come_back_as_they_were(tmp_path, config):
    path = tmp_path / "run" / "mask_rcnn_ury_0003.h5"
    save_metadata(path, config, ["BG", "eryth", "Größe"], [None, np.int64(5), 9], epoch=np.int32(3))
    assert os.listdir(path.parent) == ["config_mask_rcnn_ury_0003.json"]
    for given in (path, str(path), metadata_path(path)):
        found = load_metadata(given)
        assert found.class_names == ["BG", "eryth", "Größe"]
        assert found.source_class_ids == [None, 5, 9]
        assert found.extra == {"epoch": 3}
        assert found.config().to_json() == config.to_json()


def test_metadata_of_an_older_version_keep_their_meaning(tmp_path, config):
    path = tmp_path / "a.h5"
    save_metadata(path, config, ["BG", "a", "b"])
    data = json.loads(metadata_path(path).read_text("utf-8"))
    del data["source_class_ids"]
    data["config"]["A_SETTING_OF_THE_PAST"] = 1
    metadata_path(path).write_text(json.dumps(data), "utf-8")
    found = load_metadata(path)
    assert found.source_class_ids == [] and found.config().BACKBONE == "densenet121"


def test_metadata_under_the_old_name_are_read_and_replaced(tmp_path, config):
    path = tmp_path / "mask_rcnn_ury_0003.h5"
    save_metadata(path, config, ["BG", "a", "b"], saved="2018-01-01T00:00:00+00:00")
    old = metadata_path(path).rename(tmp_path / "mask_rcnn_ury_0003.json")
    for given in (path, old):
        assert metadata_path(given) == old
        assert load_metadata(given).class_names == ["BG", "a", "b"]
    assert saved_time(path).year == 2018
    save_metadata(path, config, ["BG", "c", "d"])  # no second file that could say otherwise
    assert os.listdir(tmp_path) == [old.name]
    assert load_metadata(path).class_names == ["BG", "c", "d"]


def test_the_file_that_the_reference_takes_for_the_newest_has_weights(tmp_path, config):
    """Its rule: of the files of the newest folder that begin with mask_rcnn, the last by name."""
    for epoch in (1, 2):
        path = tmp_path / f"mask_rcnn_ury_{epoch:04d}.h5"
        path.touch()
        save_metadata(path, config, ["BG", "a", "b"])
    files = sorted(os.listdir(tmp_path))
    assert [name for name in files if name.startswith("mask_rcnn")][-1] == path.name
    assert files[-1] == [name for name in files if "mask_rcnn" in name][-1] == path.name


def test_absent_metadata_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*w\.json .*class names of .*w\.h5"):
        load_metadata(tmp_path / "w.h5")


@pytest.mark.parametrize(("content", "complaint"), [
    ("{", "cannot be read as JSON"),
    ("[]", "no 'config'"),
    ('{"config": {"NUM_CLASSES": 2}}', "'class_names' is not"),
    ('{"config": {"NUM_CLASSES": 2}, "class_names": ["BG", 1]}', "'class_names' is not"),
    ('{"config": {"NUM_CLASSES": 3}, "class_names": ["BG", "a"]}', "NUM_CLASSES is 3"),
    ('{"config": {"NUM_CLASSES": 2}, "class_names": ["BG", "a"], "source_class_ids": [1]}',
     "does not fit"),
])  # fmt: skip
def test_broken_metadata_are_explained(tmp_path, content, complaint):
    (tmp_path / "w.json").write_text(content)
    with pytest.raises(CheckpointError, match=complaint) as caught:
        load_metadata(tmp_path / "w.h5")
    assert "w.json" in str(caught.value)


def test_a_bad_setting_in_metadata_is_a_configuration_error(tmp_path, config):
    save_metadata(tmp_path / "w.h5", config, ["BG", "a", "b"])
    target = metadata_path(tmp_path / "w.h5")
    target.write_text(target.read_text("utf-8").replace("densenet121", "vgg"), "utf-8")
    with pytest.raises(ConfigError, match="BACKBONE"):
        load_metadata(target).config()


def test_wrong_metadata_are_not_written(tmp_path, config):
    with pytest.raises(CheckpointError, match="NUM_CLASSES is 3"):
        save_metadata(tmp_path / "w.h5", config, ["BG", "a"])
    assert os.listdir(tmp_path) == []
