"""What a bundle consists of."""

from __future__ import annotations

from experiments.bundle.forms import Format
from experiments.runs.claimed_folder import FolderKind
from experiments.training.trained import PREPROCESSING_FILE, TRAINING_FILE
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE

FORMAT_FILES: dict[Format, str] = {"source": "model.py", "pt2": "model.pt2", "onnx": "model.onnx"}
INT8_FILE = "model.int8.onnx"
CARD_FILE = "model_card.md"

#: in the order in which they are written: those by which a bundle is known come last
FILES = (
    *FORMAT_FILES.values(),
    INT8_FILE,
    CARD_FILE,
    TRAINING_FILE,
    ARCHITECTURE_FILE,
    WEIGHTS_FILE,
    PREPROCESSING_FILE,
)
#: an export takes no folder in which anything else is, unless asked to
BUNDLE = FolderKind("a bundle", ("*",))
