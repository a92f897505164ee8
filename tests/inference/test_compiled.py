"""How detection is compiled: how often, for which shapes, with and without XLA."""

import logging

import keras
import numpy as np
import pytest
from model_tools import array, noise, prefer_objects, small_config

from benchmarks.measure import resident
from frcnn.config import Config
from frcnn.geometry.anchors import normalized_pyramid_anchors
from frcnn.inference import compiled
from frcnn.inference.compiled import CompiledDetector
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.network.graph import Detector, build_detector

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """A detector of images of any size, with random weights that find something anywhere."""
    config = small_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64, PRE_NMS_LIMIT=100_000)
    model = MaskRCNN("inference", config, tmp_path_factory.mktemp("logs"), seed=1)
    prefer_objects(model)
    return model


@pytest.fixture
def traces(monkeypatch):
    """The shapes of the images for which a detection graph is traced, as long as the test runs."""
    shapes, call = [], Detector.call

    def noted(self, inputs, **options):
        if not isinstance(inputs[0], keras.KerasTensor):
            shapes.append(tuple(inputs[0].shape[:3]))
        return call(self, inputs, **options)

    monkeypatch.setattr(Detector, "call", noted)
    return shapes


def assert_equal_results(found, expected, atol=0.01):
    for one, other in zip(found, expected, strict=True):
        assert len(one["scores"]) > 0
        np.testing.assert_array_equal(one["class_ids"], other["class_ids"])
        np.testing.assert_allclose(one["boxes"], other["boxes"], atol=atol)
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-4)


@pytest.mark.nightly
@pytest.mark.skipif(resident() is None or not ON_TENSORFLOW, reason="JAX compiles for each size")
def test_memory_stays_flat_over_a_thousand_images(tmp_path):
    """Were the images kept, or what they are molded to, it would rise by 800 MB or more."""
    config = small_config(IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=512)
    model = MaskRCNN("inference", config, tmp_path, seed=1)
    rng = np.random.default_rng(0)
    sizes = rng.integers(400, 700, (20, 2))

    def images(count):
        for number in range(count):
            yield rng.integers(0, 255, (*sizes[number % 20], 3), np.uint8)

    found = 0
    for number, result in enumerate(model.detect_stream(images(1200)), start=1):
        found += len(result["scores"])
        if number == 200:  # buffers and kernels have been made by now
            early = resident()
    assert number == 1200 and found
    assert resident() - early < 100e6


def test_a_hundred_images_of_twenty_sizes(free, traces, monkeypatch, caplog):
    """One graph on TensorFlow, elsewhere one a molded size; anchors are made once for a size."""
    count = 20 if ON_TENSORFLOW else 4  # JAX compiles for seconds
    rng, made = np.random.default_rng(0), []
    sizes = {tuple((64 * rng.integers(2, 5, 2) - rng.integers(0, 60, 2)).tolist())
             for _ in range(count)}
    molded = {tuple(-(-side // 64) * 64 for side in size) for size in sizes}
    assert len(sizes) == count and len(molded) < 10
    make = compiled.normalized_pyramid_anchors
    monkeypatch.setattr(compiled, "normalized_pyramid_anchors",
                        lambda config, shape: made.append(shape) or make(config, shape))
    free.compile_detection()
    with caplog.at_level(logging.INFO, "frcnn.inference.compiled"):
        for size in (None, 2) if ON_TENSORFLOW else (None,):
            results = free.detect(noise(sizes) * 5, batch_size=size)
            assert len(results) == 5 * count
    assert sorted(made) == sorted(molded)
    if ON_TENSORFLOW:
        assert free.detection_shapes == [(None, None, None)] and len(traces) == 1
        assert "any number x any number" in caplog.text
    else:
        assert {shape[1:] for shape in free.detection_shapes} == molded
        sizes = [size for size, *_ in free.detection_shapes]
        assert set(sizes) <= {1, 2, 4, 8, 16} and len(traces) == len(sizes) <= 2 * len(molded)
    ours = [record for record in caplog.records if record.name.startswith("frcnn")]
    assert len(ours) == len(free.detection_shapes)


def test_in_the_mode_square_one_graph_serves_all(detecting, traces):
    detecting.compile_detection()
    assert detecting.detection_shapes == []
    for number in (3, 1):
        detecting.detect(noise([(40, 100), (128, 128), (300, 200)][:number]), batch_size=2)
    sizes = [None] if ON_TENSORFLOW else [2, 1]
    assert detecting.detection_shapes == [(size, 128, 128) for size in sizes]
    assert len(traces) == len(sizes)


def test_the_whole_model_gives_the_same(free):
    images = noise([(128, 192), (128, 192)])
    molded, metas, windows = free.mold_inputs(images)
    rows = free.keras_model.predict_on_batch([molded, metas])[0]
    for detections, window, found in zip(rows, windows, free.detect(images)):
        boxes, class_ids, scores = free.unmold_detections(
            detections, (128, 192), (128, 192), window)
        np.testing.assert_array_equal(found["class_ids"], class_ids)
        np.testing.assert_allclose(found["boxes"], boxes, atol=0.01)
        np.testing.assert_allclose(found["scores"], scores, atol=1e-4)


def test_few_anchors_are_kept(free, monkeypatch):
    monkeypatch.setattr(compiled, "CACHED_SHAPES", 2)
    free.compile_detection()
    free.detect(noise([(64, 64), (64, 128), (64, 64), (64, 192), (64, 64)]), batch_size=1)
    anchors = free._detection.compiled()._anchors
    assert anchors.cache_info()[:4] == (2, 3, 2, 2)  # hits, misses, at most, entries
    np.testing.assert_array_equal(array(anchors((64, 64)))[0], free.get_anchors((64, 64, 3)))
    anchors((64, 192))
    assert anchors.cache_info().misses == 3  # these two are the ones that are kept


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX always compiles by XLA")
def test_xla_finds_the_same(free, caplog):
    """For each molded size it compiles once, a smaller last batch included."""
    images = noise([(100, 60), (64, 64), (100, 50), (64, 64), (120, 64)])
    expected = free.detect(images)
    free.compile_detection(jit_compile=True)
    try:
        found = free.detect(images, batch_size=2)
        assert free.detection_shapes == [(2, 128, 64), (2, 64, 64)]  # the third is filled up
        xla = free._detection.compiled()
        assert xla.jit_compile
    finally:
        free.compile_detection(jit_compile=False)
    assert_equal_results(found, expected)
    assert xla is not free._detection.compiled()
    assert not free._detection.compiled().jit_compile


@pytest.fixture
def as_with_a_gpu(monkeypatch):
    """Keras compiles by XLA by itself."""
    if not ON_TENSORFLOW:
        pytest.skip("JAX always compiles by XLA")
    monkeypatch.setattr(keras.Model, "_resolve_auto_jit_compile", lambda self: True)


def test_with_a_gpu_xla_is_for_one_molded_size_only(detecting, free, as_with_a_gpu):
    """A minute for each new size would be too much."""
    square = compiled.CompiledDetector(detecting.keras_model, detecting.config)
    assert square.jit_compile and square.compiles_each_shape
    others = compiled.CompiledDetector(free.keras_model, free.config)
    assert not others.jit_compile and not others.compiles_each_shape


@pytest.mark.slow
def test_with_a_gpu_the_same_is_found_and_seen_inside(detecting, as_with_a_gpu):
    image = noise([(128, 128)])
    detecting.compile_detection(jit_compile=False)
    expected = detecting.detect(image)
    model = MaskRCNN("inference", detecting.config, detecting.model_dir)
    model.keras_model.set_weights(detecting.keras_model.get_weights())
    assert_equal_results(model.detect(image), expected)
    assert model.detection_shapes == [(1, 128, 128)]
    rois = model.run_graph(image, [("ROI", model.keras_model.get_layer("ROI").output)])["ROI"]
    assert rois.shape == (1, 40, 4)


def test_where_shapes_are_compiled_batches_are_filled_to_few_sizes(free):
    detector = compiled.CompiledDetector(free.keras_model, free.config)
    detector.compiles_each_shape, sizes = True, []
    run = detector._run
    detector._run = lambda molded, *rest: sizes.append(len(molded)) or run(molded, *rest)
    image = np.float32(noise([(64, 64)]))
    meta = free.mold_inputs(noise([(64, 64)]))[1]
    for count, most in ((3, 1), (1, 1), (1, 4), (4, 4), (5, 1), (2, 7)):
        rows = detector(np.repeat(image, count, axis=0), np.repeat(meta, count, axis=0), most)
        assert len(rows) == count
        np.testing.assert_allclose(rows, np.repeat(rows[:1], count, axis=0), atol=1e-2)
    assert sizes == [4, 1, 4, 4, 8, 8]
    assert detector.shapes == [(4, 64, 64), (1, 64, 64), (8, 64, 64)]


def test_jit_compile_is_checked(free):
    with pytest.raises(ValueError, match="jit_compile is 'yes'; allowed are True, False"):
        free.compile_detection("yes")


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends plan no memory")
def test_eight_images_of_1024_pixels_need_less_than_4_gb():
    import jax

    config = Config(BACKBONE="resnet50", NUM_CLASSES=8, IMAGE_MIN_DIM=1024, IMAGE_MAX_DIM=1024)
    model = CompiledDetector(build_detector("inference", config), config).model
    states = [[variable.value for variable in variables]
              for variables in (model.trainable_variables, model.non_trainable_variables)]
    inputs = [jax.ShapeDtypeStruct((8, *x.shape[1:]), x.dtype)
              for x in model.inputs[:2]]
    anchors = normalized_pyramid_anchors(config, (1024, 1024))
    inputs.append(jax.ShapeDtypeStruct((1, *anchors.shape), np.float32))
    plan = jax.jit(lambda *args: model.stateless_call(*args, training=False)[0]).lower(
        *states, inputs).compile().memory_analysis()
    assert plan.temp_size_in_bytes + plan.argument_size_in_bytes < 4 * 2**30
