"""What `frcnn train` says of a run that was interrupted: how to continue, and where it does."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loads Keras
    from frcnn.model.mask_rcnn import MaskRCNN


def print_state(model: "MaskRCNN") -> None:
    """Prints within which epoch a run continues, if it does."""
    from frcnn.training.state import find_state

    state = find_state(model.log_dir, model.epoch, model.run_name)
    if state is not None and state.step:
        print(f"continues     in epoch {state.epoch + 1}, after step {state.step} of "
              f"{state.about.get('steps')}", flush=True)


def stopped(interruption: KeyboardInterrupt, checkpoint: Any) -> int:
    """Prints how an interrupted run can continue; returns the exit code."""
    print()
    state = getattr(interruption, "path", None)
    if state is not None:
        print(f"Stopped; the state of the training is saved in {state}. Continue exactly there "
              "with --model last.")
    elif checkpoint is None:
        print("Stopped before the end of the first epoch: there is no checkpoint.")
    else:
        print(f"Stopped. The last checkpoint is {checkpoint}; continue from it with --model "
              f"{checkpoint}.")
    return getattr(interruption, "exit_code", 130)
