"""One file per framework: `threads(n)`, and `layer(case)` and `model(case)` that give a function to be timed."""
