"""
Audiences and events from so few guilds and users that they meet.
"""

from __future__ import annotations

from hypothesis import strategies as st

from gatewayd.model import Audience

GUILDS = ("g1", "g2", "g3", "g4")
USERS = ("u1", "u2", "u3", "u4")

guilds = st.sampled_from(GUILDS)
users = st.sampled_from(USERS)

some_guilds = st.lists(guilds, max_size=3).map(tuple)
some_users = st.lists(users, max_size=3).map(tuple)
"""
Some are there twice: another version's gateway may put it so.
"""

subscribed = st.frozensets(guilds)
nothing = st.just(())

audiences = st.one_of(
    # One guild is what nearly all events have.
    st.builds(Audience, guilds.map(lambda guild: (guild,))),
    st.builds(Audience, guilds=some_guilds | nothing, excluded=some_users | nothing),
    st.builds(Audience, *[nothing | some for some in (some_guilds, *[some_users] * 3)]),
)
"""
Every form that an audience can take, also that of nobody.
"""
