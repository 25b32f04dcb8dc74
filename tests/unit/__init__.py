"""
Tests of what touches nothing: C{trial tests.unit}.
"""
