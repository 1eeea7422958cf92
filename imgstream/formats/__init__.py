"""Reads what the first bytes of an image file say, before any decoder is called.

header.py      any kind → Header: kind, stored size, orientation, memory that its decoder needs
jpeg.py        frames, scans, markers
tiff.py        tags of the first directory; EXIF too
isobmff.py     AVIF and HEIC: boxes within boxes
npy.py         arrays of one image
dicom.py       DICOM, by pydicom
limits.py      limits on the memory and time of decoding
"""
