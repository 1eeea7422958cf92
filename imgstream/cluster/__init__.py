"""Spreads the work of a command over the machines of a Ray cluster. The result is that of one machine.

connection.py   joins the cluster, or starts one on this machine, and says how many workers it has room for
blocks.py       a block: some planned batches, with the paths of their images
worker.py       what runs on the cluster: it checks its machine, loads the model once, and computes blocks
pool.py         hands out blocks, and again those whose worker died; finds the image that kills its worker
prediction.py   imgstream predict --on ray
embedding.py    imgstream embed --on ray
training.py     imgstream train --on ray: the processes of one training, each the same command

Ray starts processes, restarts them when they die, and carries arguments and results. What is recorded, where, and in which order, is
decided in the process of the command alone.
"""
