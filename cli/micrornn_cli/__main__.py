"""`python -m micrornn_cli` is `micrornn`."""

from micrornn_cli.main import main

main()
