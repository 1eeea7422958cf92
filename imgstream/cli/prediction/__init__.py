"""Commands that use a trained run: predict, evaluate, embed, merge."""
