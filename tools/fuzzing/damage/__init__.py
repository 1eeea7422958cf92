"""What may happen to a file.

any_kind.py   bits, blocks, ends and numbers of any file
bmp.py ...    what the structure of a kind allows: the rest stays as a decoder expects it, so that the decoder gets far
tiff.py       TIFF directories, read and written
"""
