"""Commands about training: train, lr, bench."""
