"""Commands about folders of images: index, check, show, sort, cache."""
