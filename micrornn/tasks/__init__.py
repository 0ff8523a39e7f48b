"""One file per kind of job: data, topology, loss, metric.

text    a language model over characters or words
"""
