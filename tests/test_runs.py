"""Run folders, epochs, the last checkpoint, and the JSON beside it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import pytest

from frcnn.config import Config
from frcnn.errors import CheckpointError, ConfigError
from frcnn.runs import (
    checkpoint_path,
    claim_folder,
    epoch_of,
    find_last,
    goes_on,
    is_run_folder,
    load_metadata,
    metadata_path,
    run_folder,
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
    assert os.listdir(path.parent) == ["mask_rcnn_ury_0003.json"]
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
