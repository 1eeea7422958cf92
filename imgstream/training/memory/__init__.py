"""How much memory training takes.

plan.py    an estimate before it starts, from the shapes of the layers
record.py  measurements while it runs
gpu.py     limits what is taken of each GPU
"""
