"""`--recipe`: what it sets for which initial weights, and what takes precedence."""

import pytest
from cli_tools import checkpoint, fails

from frcnn.cli import recipes, starts
from frcnn.cli.sample import ANY_FOLDER, Sample, SmallObjectsConfig
from frcnn.cli.settings import training_config
from frcnn.cli.train import build_parser, main
from frcnn.data import open_folder
from frcnn.data.anchor_fit import AnchorShapes, best_ious, coverage, molded_objects
from frcnn.errors import ConfigError

NEW_NETWORK = ("OPTIMIZER", "LEARNING_RATE", "WEIGHT_DECAY", "PYRAMID_BATCH_NORM")
NEW_HEAD = ("ROI_ALIGN_SAMPLES", "ROI_FILL_NEGATIVES", "DETECTION_ALL_CLASSES",
            "DETECTION_SOFT_NMS_SIGMA", "RPN_ANCHOR_STRIDE")


def config_of(*arguments, sample=ANY_FOLDER, start=None):
    options = build_parser(sample=sample).parse_args(["--dataset", "data", *arguments])
    start = start or starts.Start(options.model)
    return training_config(start, options, 4, sample), options, start


def values(config, names):
    return [getattr(config, name) for name in names]


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_is_a_configuration(name):
    config, _, _ = config_of("--recipe", name)
    assert bool(len(config.CASCADE_IOUS)) == (name == "accurate")


def test_the_reference_is_the_samples_own_configuration():
    config, _, _ = config_of("--recipe", "reference")
    assert values(config, NEW_NETWORK + NEW_HEAD) == values(SmallObjectsConfig(),
                                                            NEW_NETWORK + NEW_HEAD)


def test_random_weights_get_all_and_a_pretrained_backbone_only_what_its_new_layers_need():
    plain = SmallObjectsConfig()
    random, pretrained = config_of()[0], config_of("--model", "imagenet")[0]
    assert random.OPTIMIZER == "adamw" and random.PYRAMID_BATCH_NORM
    assert values(random, NEW_HEAD) == values(pretrained, NEW_HEAD) == [2, True, True, 0.5, 1]
    assert values(pretrained, NEW_NETWORK) == values(plain, NEW_NETWORK)


def test_a_detector_keeps_what_it_was_trained_with(tmp_path):
    start = starts.find(str(checkpoint(tmp_path / "ury20250101T0101", 4)), tmp_path)
    config, _, _ = config_of(start=start)
    assert values(config, NEW_NETWORK + NEW_HEAD) == values(SmallObjectsConfig(),
                                                            NEW_NETWORK + NEW_HEAD)
    with pytest.raises(ConfigError, match=r"--recipe accurate: .*mask_rcnn_ury_0003.h5 is a "
                                          r"trained detector, .*--model none or imagenet"):
        recipes.check_start("accurate", start)


def test_the_command_line_takes_precedence():
    config, _, _ = config_of("--set", "ROI_ALIGN_SAMPLES=1", "--learning-rate", "0.001",
                             "--set", "DETECTION_SOFT_NMS_SIGMA=0")
    assert (config.ROI_ALIGN_SAMPLES, config.LEARNING_RATE) == (1, 0.001)
    assert not config.DETECTION_SOFT_NMS_SIGMA and config.OPTIMIZER == "adamw"


def test_another_optimizer_gets_its_own_rate_and_decay():
    config, _, _ = config_of("--set", "OPTIMIZER=sgd")
    plain = SmallObjectsConfig()
    assert (config.OPTIMIZER, config.LEARNING_RATE, config.WEIGHT_DECAY) == (
        "sgd", plain.LEARNING_RATE, plain.WEIGHT_DECAY)
    assert config.PYRAMID_BATCH_NORM
    config, _, _ = config_of("--set", "OPTIMIZER=sgd", "--learning-rate", "0.02")
    assert config.LEARNING_RATE == 0.02


def test_a_learning_rate_for_sgd_is_refused_with_adamw(coco_folder, tmp_path, capsys):
    message = fails(capsys, main, "--dataset", str(coco_folder), "--learning-rate", "0.01",
                    "--logs", str(tmp_path / "logs"))
    assert "--learning-rate 0.01 is 50 times" in message and "--recipe reference" in message
    assert not (tmp_path / "logs").exists()


def test_anchors_are_fitted_where_they_are_new_and_nobody_chose_them(coco_folder, tmp_path):
    data = open_folder(coco_folder, "train")
    recipe = recipes.RECIPES["default"]
    config, options, start = config_of("--image-size", "128")
    fitted, text = recipes.fitted(config, recipe, start, options, data)
    objects = molded_objects(data, config)
    before, after = (coverage(best_ious(objects, AnchorShapes.from_config(one)))
                     for one in (config, fitted))
    assert after > before and f"fit {after:.0%} of the objects ({before:.0%} before)" in text
    assert len(fitted.RPN_ANCHOR_RATIOS) == len(config.RPN_ANCHOR_RATIOS)

    for arguments in (("--set", "RPN_ANCHOR_SCALES=8,16,32,64,128"),
                      ("--set", "RPN_ANCHOR_STRIDE=2")):
        config, options, start = config_of("--image-size", "128", *arguments)
        assert recipes.fitted(config, recipe, start, options, data) == (config, None)
    start = starts.find(str(checkpoint(tmp_path / "ury20250101T0101", 4)), tmp_path)
    config, options, _ = config_of(start=start)
    assert recipes.fitted(config, recipe, start, options, data) == (config, None)
    config, options, start = config_of("--recipe", "reference")
    assert recipes.fitted(config, recipes.RECIPES["reference"], start, options, data) == (
        config, None)


def test_a_sample_has_its_own_default(capsys):
    sample = Sample(SmallObjectsConfig(), 5, recipe="reference")
    assert config_of(sample=sample)[0].OPTIMIZER == "sgd"
    sample = Sample(SmallObjectsConfig(), 5, without_data=sample)
    with pytest.raises(SystemExit):
        build_parser(sample=sample).parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: default; reference without --dataset)" in text
    assert all(" ".join(recipe.text.split()) in text for recipe in recipes.RECIPES.values())
