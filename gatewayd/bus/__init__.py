"""
The ordered log that all instances share, and the channel that tells of it: in Redis, or in
the memory of this process.
"""
