"""The weights of the best epoch so far, by validation accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import nn

from search_space.weights import save_weights

BEST_FILE = "best.safetensors"


class BestWeights(pl.Callback):
    """Keeps ``folder/best.safetensors`` from the first epoch of the highest validation accuracy.

    Its record travels in Lightning's checkpoints, so that a resumed run compares with what came before.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / BEST_FILE
        self.epoch = -1
        self.accuracy = -1.0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy = float(trainer.callback_metrics["val_accuracy"])
        if accuracy <= self.accuracy:
            return
        self.epoch, self.accuracy = trainer.current_epoch, accuracy
        if trainer.is_global_zero:
            network = pl_module.model
            assert isinstance(network, nn.Module)
            save_weights(network, self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "accuracy": self.accuracy}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epoch, self.accuracy = state_dict["epoch"], state_dict["accuracy"]
