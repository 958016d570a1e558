"""Which images to load, and how. Imports neither torch nor numpy, so that configs can be read without them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from search_space.base.checks import check_options, option, printable, require

#: Where the images of a data set stay.
Where = Literal["auto", "memory", "device", "stream"]


@dataclass(frozen=True)
class DataOptions:
    """Images to search and train on.

    Attributes:
        name: digits, a folder of class folders, or a Hugging Face name; see `sepnas list datasets`.
        image_size: side in pixels; images are resized (shorter side) and centre-cropped to it.
        channels: 1 (grey), 3 (colour), or auto. Auto looks at the files: 1 if all images outside the data set's own
            test split are grey, else 3.
        validation: share of the training images held out for the search. A data set's own validation split wins.
        test: share of all images held out for the final test. A data set's own test split wins. It is taken off first,
            from the training images alone if there is a validation split.
        max_train_images: most training and validation images to use. They are drawn evenly over the classes; the test
            split stays whole, and images that are not used are not decoded.
        on_corrupt: refuse an unreadable image with an error, or skip it.
        stored_size: side in pixels at which images are kept where that is not image_size; networks see windows of
            image_size, random where an augmentation crops, else central. 64 with image_size 56 for Tiny-ImageNet, 256
            with 224 for ImageNet.
        where: memory, device (all images on the GPU), stream (decoded by workers as they are needed), or auto: stream
            above memory_limit, else device if the images take at most half of its free memory, else memory.
        memory_limit: GiB of decoded pixels, all splits together, above which auto streams.
        workers: decoding processes of one loader of streamed images; null for one per core, shared by trainings
            that run together, at most 8; 0 decodes in the training process.
        cache: keep decoded images for the next run, in $SEPNAS_CACHE. If that is not set, in the user's cache folder.
        title: name of the data in tables and plots; null for the name above, of a folder its last part.
    """

    name: str = "digits"
    image_size: int = option(32, least=1)
    channels: Literal["auto", 1, 3] = "auto"
    validation: float = option(0.2, above=0, below=1)
    test: float = option(0.2, above=0, below=1)
    max_train_images: int | None = option(None, least=1)
    on_corrupt: Literal["refuse", "skip"] = "refuse"
    stored_size: int | None = option(None, least=1)
    where: Where = "auto"
    memory_limit: float = option(4.0, least=0)
    workers: int | None = option(None, least=0)
    cache: bool = True
    title: str | None = None

    def __post_init__(self) -> None:
        check_options(self, "data")
        smaller = self.stored_size is not None and self.stored_size < self.image_size
        require(not smaller, "data.stored_size", self.stored_size, f"is below image_size {self.image_size}", "raise it")

    @property
    def side(self) -> int:
        """Side in pixels at which images are kept."""
        return self.image_size if self.stored_size is None else self.stored_size

    @property
    def display_name(self) -> str:
        """What tables and plots call the data: the title, else the name, of a folder its last part."""
        if self.title is not None:
            return printable(self.title)
        return printable(Path(self.name).name if Path(self.name).is_dir() else self.name)

    def deciding(self) -> dict[str, Any]:
        """The options that decide which images there are: all but what they are called and how fast they come."""
        return {name: value for name, value in asdict(self).items() if name not in ("title", "workers", "cache")}
