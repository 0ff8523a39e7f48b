"""One file per framework. Each has

version     of the framework
threads(n)  use so many cores
place(device, precision)    -> the clock (clock.py) that times it there; raises if it cannot run there
layer(case)     -> a function: forward and backward of a recurrent layer
model(case)     -> a function: one update of a language model; gives the loss. Every framework starts from the same
                   weights and reads the same windows (material.py)
sample(case)    -> a function: draws LENGTH characters from such a model, each handed over before the next is drawn

and micrornn's, on a graphics card,
train(case)     -> a function: one update; gives the loss, and a hash of all parameters
kernel(name)    -> a function: one kernel of card_kernels.py, several times
limits(None)    -> a function: what the card is, and what it can do at most
"""
