"""
Tests that break things while the gateway works, and then compare what every client received
with what was published, event by event.

=============  ======================================================================
L{roll}        who was a member of which guild, when
L{ledger}      what was published, and what may not have happened
L{account}     what one client received, whatever became of its connections
L{reader}      such a client
L{load}        what the microservices publish meanwhile
L{stage}       brokers, a bad network, instances and clients, put together
L{trouble}     what can happen to them
=============  ======================================================================

C{python -m tests.chaos} runs it for as long as one likes; C{tests/live/test_chaos_*.py} do one
thing at a time.
"""
