"""Turns a measure into pictures: panels of a few kinds, which a terminal, a figure and a page draw alike.

panels      the kinds of panel, and nothing about any measure
"""
