"""The parts of a training step.

compiled_models.py  the model that is trained and the one that is saved, optimizer and loss
step_selection.py   the step for Keras' backend
compiled_step.py    what a step takes and gives, and Keras' own
tensorflow_step.py  a step as one TensorFlow program for batches of every size
jax_step.py         a step as one JAX program
distillation.py     learning from the logits of other runs too
optimizers.py       Muon, layer-wise SGD
normalization.py    batch normalization as one kernel
precision.py        float32 or mixed precision
weight_average.py   the moving average of the weights
losses.py           the loss of images that may have several labels
replicas.py         several devices, and batches filled up to a size
"""
