"""`python -m micrornn_cli` is `micrornn`."""

from micrornn_cli.start import start

start()
