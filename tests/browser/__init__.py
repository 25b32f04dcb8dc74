"""
Client SDKs in processes of their own: Python, Node and Chromium.
"""
