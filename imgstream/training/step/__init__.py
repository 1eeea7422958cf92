"""The parts of a training step.

compiled_models.py  the model that is trained and the one that is saved, optimizer and loss
tracing.py          a step as one TensorFlow program for batches of every size
optimizers.py       Muon, layer-wise SGD
normalization.py    batch normalization as one kernel
precision.py        float32 or mixed precision
weight_average.py   the moving average of the weights
replicas.py         several GPUs
gpu_memory.py       limits the memory taken of each GPU
"""
