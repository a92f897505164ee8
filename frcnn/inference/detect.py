"""What a MaskRCNN does to images: detection, of a few or of very many."""

import numpy as np

from frcnn.inference import transform as inference
from frcnn.inference.compiled import CompiledDetector
from frcnn.inference.stream import DetectionStream


class Detecting:
    """The part of MaskRCNN that detects; it needs `mode`, `config` and `keras_model`."""

    _detector = None

    def detect(self, images, verbose=0, *, batch_size=None):
        """Finds the objects in images.

        Args:
            images: list of uint8 `[h, w, C]`, any number, of any sizes; or whatever
                `detect_stream` takes.
            verbose: 1 shows a progress bar.
            batch_size: see `detect_stream`.

        Returns:
            A list of dicts, one an image, best first: `rois` int32 `[N, 4]` and `boxes` float32
            `[N, 4]`, (y1, x1, y2, x2) in the image's own pixels, rounded and not; `class_ids`
            int32 `[N]`; `scores` float32 `[N]`.

        Raises:
            ValueError: an image has an unfit shape. ImageError, FileNotFoundError: a file's.
        """
        self._check_inference("detect")
        images = inference.check_arrays(images, self.config)
        return list(inference.progress(
            self.detect_stream(images, batch_size=batch_size), images, verbose))

    def detect_stream(self, images, *, batch_size=None, workers=None, return_exceptions=False):
        """Finds the objects in any number of images, few of which are in memory at once.

        Threads read, resize and mold the next images while the network works on the present ones.

        Args:
            images: iterable, also an endless one, of uint8 arrays `[h, w, C]`, paths of image
                files, or functions without arguments that return such an array. It and the
                functions are called in threads, never the iterable in two at once.
            batch_size: images that go through the network together; None for what suits their
                molded size and the processor.
            workers: threads; None for one a core, at most four.
            return_exceptions: True gives the error of an image that cannot be read or is unfit in
                place of its result, and goes on.

        Yields:
            The dicts of `detect`, in the order of the images, found with the weights of the time of
        the call; load none before the last one has come.
        """
        self._check_inference("detect_stream")
        return DetectionStream(self._compiled(), self.config, batch_size).run(
            images, workers, return_exceptions)

    def detect_molded(self, molded_images, image_metas, verbose=0):
        """Finds the objects in images that are molded already, in their own pixels.

        Args:
            molded_images: float32 `[B, H, W, C]`, or a list of them, of one shape.
            image_metas: `[B, META]`; the windows in them are not undone.

        Returns:
            A list of dicts as `detect`'s, boxes in pixels of the molded image.
        """
        self._check_inference("detect_molded")
        molded, metas = np.stack(molded_images), np.stack(image_metas).astype(np.float32)
        window = (0, 0, *molded.shape[1:3])
        return [inference.as_result(*self.unmold_detections(
            rows, molded.shape[1:], molded.shape[1:], window))
            for rows in self._compiled()(molded, metas)]

    def compile_detection(self, jit_compile="auto"):
        """Decides how detection is compiled; without it, the first detection does, by "auto".

        Args:
            jit_compile: True for XLA, which compiles anew for each molded shape and batch size;
                False for none. "auto" is XLA where Keras chooses it (on JAX, and on TensorFlow
                with a GPU), but on TensorFlow only in the resize mode "square".
        """
        self._check_inference("compile_detection")
        self._detector = CompiledDetector(self.keras_model, self.config, jit_compile)

    @property
    def detection_shapes(self):
        """(B, H, W) of the molded batches that detection was compiled for; None is any number.

        One on TensorFlow without XLA. Else some for each molded size, whose sides are multiples of
        64 (in the mode "square" there is one): B is a power of two.
        """
        return list(self._detector.shapes) if self._detector else []

    def _compiled(self):
        """The CompiledDetector with the present weights."""
        if self._detector is None:
            self.compile_detection()
        else:
            self._detector.refresh()
        return self._detector

    def mold_inputs(self, images):
        """Resizes, pads and molds images that end up with one shape.

        Returns:
            molded images float32 `[B, H, W, C]`, metas float32 `[B, META]`, windows `[B, 4]`.
        """
        molded, metas, windows = inference.mold_inputs(images, self.config)
        return np.stack(molded), np.stack(metas).astype(np.float32), np.stack(windows)

    def unmold_detections(self, detections, original_image_shape, image_shape, window):
        """One image's detections in its own pixels; see `inference.unmold_detections`."""
        return inference.unmold_detections(detections, original_image_shape, image_shape, window)

    def _check_inference(self, what):
        if self.mode != "inference":
            raise ValueError(f'{what} needs a model built with mode="inference".')
