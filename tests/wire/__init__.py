"""
Tests of the worlds over transports in memory: C{trial tests.wire}.
"""
