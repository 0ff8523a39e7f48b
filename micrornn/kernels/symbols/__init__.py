"""Kernels that write down instead of computing: how a cell's own kernels are derived from its step.

    symbol.py     a number that is not known yet, and what is computed from it
    table.py      the kernels over arrays of symbols, under the names of reference.py
    program.py    what one unit of a cell computes in a time step, forward and backward, and what is kept between
    names.py      what its numbers are called
    source.py     formulas as Python text
    unit.py       the program as the lines of a kernel, of which each device writes its own
    numbers.py    formulas computed with NumPy

The table "symbols" is one among the tables of kernels. A cell's `step` runs on it as on any other, and the tape walks
back over it as over any other; what comes out are formulas. cells/derive.py does that.
"""
