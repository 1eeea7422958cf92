"""Which images are for training, and which for validation.

path_hash.py  the hash of a relative path, or of a group's name
groups.py     images that stay on one side together
validation.py the split by these hashes, and a report of it
"""
