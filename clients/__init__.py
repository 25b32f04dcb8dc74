"""
The SDKs beside the Python one, and what all of them are held to.
"""
