"""What a training step is made of.

compiled_models.py  the model that is trained and the one that is saved, optimizer and loss
tracing.py          a step as one TensorFlow program for batches of every size
optimizers.py       Muon, layer-wise SGD
normalization.py    batch normalization in one kernel each way
precision.py        float32 or bfloat16
weight_average.py   the moving average of the weights
replicas.py         several GPUs
gpu_memory.py       how much of each GPU's memory may be taken
"""
