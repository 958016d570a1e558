"""Where images come from: every kind of data set as listings of images that are not decoded yet."""
