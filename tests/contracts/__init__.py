"""
What every implementation of a seam has to do, and the proof that the memory twins do it.
"""
