"""What an image file's first bytes say, before any decoder is called.

header.py      any kind → Header: kind, stored size, orientation, what its decoder will hold
jpeg.py        frames, scans, markers
tiff.py        tags of the first directory; EXIF too
isobmff.py     AVIF and HEIC: boxes within boxes
limits.py      what decoding may take, in bytes and pixels
"""
