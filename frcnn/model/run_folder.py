"""The folder of a run, as MaskRCNN uses it: its path, its checkpoints and its epoch."""

from pathlib import Path

from frcnn import runs
from frcnn.files import expanded
from frcnn.training.agreement import from_main


class RunFolder:
    """Where a run writes, and how far it is.

    Args:
        model_dir: folder of all runs.
        name: of the run; None is "frcnn".

    Attributes:
        model_dir: as given, a string, with `~` replaced by the home folder.
        run_name: the run's name.
        log_dir: the run's folder, which `make_log_dir` makes.
        checkpoint_path: the path of its checkpoints, with `*epoch*` in place of the number.
        epoch: how many epochs are done.
        starting_checkpoint: path of the checkpoint that the run continues from, or None.
        last_checkpoint: path of the newest checkpoint that training wrote, or None.
        best_checkpoint: path of the run's checkpoint with the highest AP, after a training that
            was evaluated; else None.
    """

    def __init__(self, model_dir: str | Path, name: str | None) -> None:
        given = str(model_dir)
        self.model_dir = str(expanded(given)) if given.startswith("~") else given
        self.run_name = name or "frcnn"
        self.last_checkpoint: str | None = None
        self.best_checkpoint: str | None = None
        self.set_log_dir()

    def find_last(self) -> str:
        """Path of the newest checkpoint of the newest run of this name.

        Raises:
            FileNotFoundError: there is none.
        """
        return runs.find_last(self.model_dir, self.run_name)

    def find_best(self) -> str:
        """Path of the best checkpoint of the newest run of this name.

        Raises:
            FileNotFoundError: there is none.
        """
        return runs.find_best(self.model_dir, self.run_name)

    def set_log_dir(self, model_path: str | Path | None = None) -> None:
        """Sets log_dir, checkpoint_path and epoch, from a checkpoint's path or for a new run."""
        self.epoch = runs.epochs_done(model_path) if model_path else 0
        self.starting_checkpoint = str(model_path) if self.epoch else None
        self._is_claimed = runs.goes_on(model_path, self.run_name)
        self._use(runs.run_folder(self.model_dir, self.run_name, model_path))

    def make_log_dir(self) -> str:
        """Makes the run's folder and returns its path; `train` calls it.

        When another run has made the folder of a new run since `set_log_dir`, log_dir and
        checkpoint_path change to that of the next free minute. Of several processes the first
        makes it, and all of them have to call this.
        """
        if not self._is_claimed:
            self._use(from_main(lambda: runs.claim_folder(self.log_dir)))
            self._is_claimed = True
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        return self.log_dir

    def _use(self, folder: str) -> None:
        self.log_dir = folder
        self.checkpoint_path = str(Path(folder) / f"mask_rcnn_{self.run_name.lower()}_*epoch*.h5")
