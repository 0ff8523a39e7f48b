"""micrornn: autograd from scratch for recurrent networks.

Import what you need from where it lives: `micrornn.tape`, `micrornn.ops`, `micrornn.recurrent`, `micrornn.layers`,
`micrornn.optim`, `micrornn.gradcheck`, `micrornn.train`. docs/design.md has the map of the house. Importing this
page imports nothing else, so that `micrornn --help` is quick.
"""

__version__ = "0.1.0"
