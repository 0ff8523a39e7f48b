"""Experiments that compare settings: the same data and seeds, several settings side by side, and what can be told.

vary         what is varied, as it is typed
plan         what is compared, checked before anything is trained
folder       the folder of a comparison, that goes on where it stopped
worker       one run; pool: many at once
results      what the runs have measured; statistics, summary, verdict: what that says
reach        how far back a trained network looks
search       settings drawn at random, the worse half dropped at each rung
trajectory   the way of one example, a mini-batch, all examples at a time over a loss surface
"""
