"""What a trained detector finds in a data set, for figures that are not of its speed."""


def detected(path, data, subset):
    """Detects with the least score of an evaluation.

    Args:
        path: weights, or an exported detector.
        data: the data set's folder.
        subset: of it.

    Returns:
        The Dataset, the detector's Config, and a dict of results by image id.
    """
    from frcnn.cli import run_report, starts
    from frcnn.cli.datasets import adapt
    from frcnn.cli.sample import EVALUATION_MIN_CONFIDENCE
    from frcnn.data import open_folder
    from frcnn.evaluate import detect_dataset

    start = starts.find_trained(path, "logs")
    config = start.config.replaced(DETECTION_MIN_CONFIDENCE=EVALUATION_MIN_CONFIDENCE)
    dataset = open_folder(data, subset)
    adapt(dataset, config)
    model = run_report.inference_model(start.path, config, "logs")
    return dataset, config, detect_dataset(model, dataset, progress=False)
