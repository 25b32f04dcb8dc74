"""
What every client of this gateway must do, as one script (C{cases.json}) that is played to each.

A case is a list of steps in one order: what the server does, what the application does, and what
either of them must see. The L{stage<clients.conformance.stage>} plays the server's part; the
application's is played by a I{driver} in the SDK's own language, told what to do over a
connection of its own (L{clients.conformance.cast}).
"""
