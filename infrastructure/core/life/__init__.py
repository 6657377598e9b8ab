"""Signs of life: a small file for each process, by which a supervisor sees that it lives and whether it is ready.

Standard library only, so that a probe costs little: a supervisor may ask every few seconds.
"""
