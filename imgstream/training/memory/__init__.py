"""How much memory a training takes.

plan.py    before it begins, from the shapes of its layers
record.py  while it runs, over time
"""
