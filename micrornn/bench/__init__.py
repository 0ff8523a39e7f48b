"""How fast: cases, functions to be timed, and timing. `micrornn bench` shows them, benchmarks/ compares with others.

cases     shapes of layers and models as plain data
timing    seconds of a call again and again, peak memory
made      a text for those who have none
work      what a case means: a function to be timed
measure   a case timed on this machine, with its share of the machine's limit
"""
