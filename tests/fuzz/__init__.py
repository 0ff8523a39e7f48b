"""Inputs that nobody meant, and ends that nobody chose: `make fuzz` tries 10,000 of the first and 1,000 of the second.

values      values that are wrong somewhere, and how bytes are damaged
files       damaged texts, settings, checkpoints and JSON lines
cases       case number -> a command over such a file, flag or variable, and whether it must fail
worker      runs cases, each with a limit of time and memory, and says what was wrong with how they ended
kills       kills and signals a run at random moments, and compares where it ends with one that was left alone
"""
