"""
Whom to believe, and what they may see.
"""
