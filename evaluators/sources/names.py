"""What may be asked for as data, in words; imports nothing heavy, so that listing it is instant."""

from __future__ import annotations

from dataclasses import dataclass

DATASETS: dict[str, str] = {
    "digits": "1797 handwritten digits of scikit-learn, 10 classes, grey, 8x8 resized to image_size; needs no network",
    "<folder>": "a local folder of class folders, or of train/, val/ and test/ above class folders "
    "(jpg, jpeg, png, webp, bmp)",
    "<file or folder of Parquet>": "Parquet with an image and a label column; file names beginning with train, "
    "validation or test say the split",
    "<CIFAR-10 or CIFAR-100>": "the binary version, as cifar-10-binary.tar.gz or cifar-100-binary.tar.gz or unpacked",
    "<SVHN>": "train_32x32.mat, or the folder of it; test_32x32.mat and extra_32x32.mat beside it are used",
    "owner/name": "an image classification data set of the Hugging Face hub, where no such local folder exists",
    "hf:name[:config]": "the same, said explicitly, with its configuration if it has several; "
    "name may also be a local copy of the repository",
}


@dataclass(frozen=True)
class HubEntry:
    """What is known about one data set of the hub; None is found out from its columns, or is the default there.

    Args:
        config: configuration to take unless one is named.
        image: image column.
        label: label column.
        extra: splits whose images are trained on beside those of train, where the repository has them.
    """

    config: str | None = None
    image: str | None = None
    label: str | None = None
    extra: tuple[str, ...] = ()


#: Data sets of the hub that the papers use, and their like. Their splits: cifar and fashion_mnist train, test; svhn
#: train, test, extra (joins train, as in XSepConv section 4.1); tiny-imagenet train, valid (serves as test);
#: imagenet-1k train, validation (serves as test), test (without labels, not used).
HUB: dict[str, HubEntry] = {
    "uoft-cs/cifar10": HubEntry(image="img", label="label"),
    "uoft-cs/cifar100": HubEntry(image="img", label="fine_label"),
    "ufldl-stanford/svhn": HubEntry(config="cropped_digits", image="image", label="label", extra=("extra",)),
    "zh-plus/tiny-imagenet": HubEntry(image="image", label="label"),
    "zalando-datasets/fashion_mnist": HubEntry(image="image", label="label"),
    "ylecun/mnist": HubEntry(image="image", label="label"),
    "ILSVRC/imagenet-1k": HubEntry(image="image", label="label"),
}


def accepted_names() -> str:
    """Return the keys of `DATASETS` as one phrase for an error message."""
    return ", ".join(DATASETS)
