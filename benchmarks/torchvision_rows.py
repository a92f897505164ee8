"""Rows of `gpu`, by torchvision's Faster R-CNN: the same backbone, classes, image and batch.

Its settings are set to those of this library: 6,000 anchors before suppression, 1,000 proposals in
inference and 2,000 in training, 200 RoIs an image, BatchNorm on stored statistics with gamma and
beta trained, detections from a score of 0.7 and suppressed at 0.3; images are not resized.
"""

import numpy as np
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from benchmarks.measure import time_runs

NUM_CLASSES = 8
ROIS = 200
OBJECTS = 20
LEARNING_RATE, MOMENTUM = 1e-6, 0.9
DTYPES = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}


def measure(task, side, batch, precision, runs, warmup):
    """Seconds of each detection or training step, on the GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=NUM_CLASSES, min_size=side,
        max_size=side, rpn_pre_nms_top_n_test=6000, rpn_pre_nms_top_n_train=6000,
        rpn_post_nms_top_n_test=1000, rpn_post_nms_top_n_train=2000,
        box_batch_size_per_image=ROIS, box_score_thresh=0.7, box_nms_thresh=0.3).to(device)
    images = [np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
              for i in range(batch)]
    half = torch.autocast(device.type, DTYPES.get(precision, torch.bfloat16),
                          enabled=precision in DTYPES)
    make = _detection if task == "detect" else _training
    work = make(model, images, device, half)

    def call():
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return time_runs(call, runs, warmup)


def _to_tensor(image, device):
    return torch.from_numpy(image).to(device).permute(2, 0, 1).float().div(255)


def _detection(model, images, device, half):
    """From uint8 arrays to boxes on the host, as in `detect`."""
    model.eval()

    def detect():
        with torch.inference_mode(), half:
            found = model([_to_tensor(image, device) for image in images])
        return [{name: value.cpu() for name, value in result.items()} for result in found]

    return detect


def _training(model, images, device, half):
    """One step on a batch that is already on the device."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    batch = [_to_tensor(image, device) for image in images]
    targets = [_targets(seed, image.shape[0], device) for seed, image in enumerate(images)]
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)
    scaler = torch.amp.GradScaler(device.type, enabled=half.fast_dtype == torch.float16)

    def step():
        optimizer.zero_grad()
        with half:
            loss = sum(model(batch, targets).values())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    return step


def _targets(seed, side, device):
    """Boxes x1, y1, x2, y2 in pixels, and their classes."""
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(side / 32, side / 3, (OBJECTS, 2))
    corners = rng.uniform(0, side - sizes)
    boxes = np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)
    labels = rng.integers(1, NUM_CLASSES, OBJECTS)
    return {"boxes": torch.from_numpy(boxes).to(device),
            "labels": torch.from_numpy(labels).to(device)}
