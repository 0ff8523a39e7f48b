"""One file per framework. Each has

version     of the framework
threads(n)  use so many cores
layer(case)     -> a function: forward and backward of a recurrent layer
model(case)     -> a function: one update of a language model; gives the loss. Every framework starts from the same
                   weights and reads the same windows (material.py)
sample(case)    -> a function: draws LENGTH characters from such a model, each handed over before the next is drawn
"""
