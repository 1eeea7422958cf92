"""Draws images and plots for people.

contact_sheet.py  `imgstream show`: what an augmentation does
rate_curve.py     `imgstream lr`: loss by learning rate
"""
