"""
The distribution: its metadata, what it needs, and how Twisted finds it.

Everything that is a tool's setting is in pyproject.toml; every exact version that the tests
ran with is in constraints.txt.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
INIT = (HERE / "gatewayd" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "([^"]+)"$', INIT, re.MULTILINE)
assert VERSION, "gatewayd/__init__.py holds no __version__ line"

TEST = [
    "build>=1.2",
    "hypothesis>=6.100",
    "jsonschema>=4.21",
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-twisted>=1.14",
    "pytest-xdist>=3.5",
    "pyyaml>=6",
    # The packaging tests build wheels without the network, so the builder itself must be here.
    "setuptools>=70.1",
    "websockets>=14",
]

setup(
    name="gatewayd",
    version=VERSION.group(1),
    description="A WebSocket gateway: events published to RabbitMQ reach the clients who may see them",
    long_description=(HERE / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    author="The gatewayd authors",
    license="MIT",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Communications :: Chat",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    install_requires=[
        "attrs>=23.1",
        "automat>=24.8",
        # The first release whose message limit also bounds what a compressed message inflates to.
        "autobahn>=26.10",
        "click>=8.2",
        # txredisapi uses it when it is there; without it a received message costs fifteen times more.
        "hiredis>=2.3",
        # Older ones break with Werkzeug 3.
        "klein>=24.8",
        "msgspec>=0.18.6",
        "pika>=1.3.2",
        "prometheus_client>=0.20",
        "pydantic>=2.7",
        "pyjwt[crypto]>=2.10",
        "treq>=24.9",
        "twisted[tls]>=24.10",
        # Each minor release so far changed what we build on; widen this only with the live tests green.
        "txredisapi>=1.6,<1.7",
        "zope.interface>=6.4",
    ],
    extras_require={
        "test": TEST,
        # For gatewayd.client.asyncio; the one on Twisted needs nothing more.
        "client": ["websockets>=14"],
        "bench": ["matplotlib>=3.9"],
        "dev": [
            *TEST,
            "import-linter>=2.5",
            "mypy>=1.14",
            "mypy-zope>=1.0.9",
            "ruff>=0.9",
            "types-jsonschema",
            "types-pyyaml",
        ],
    },
    # Saying that the root of the checkout is where packages live, although that is the default,
    # makes setuptools put the root itself on the path of an editable install. It would install
    # an import hook otherwise, and Twisted looks for plugins on the path only.
    package_dir={"": "."},
    # twisted.plugins has no __init__.py, so that it joins Twisted's own package of that name
    # instead of replacing it; that is also why no search finds it.
    packages=[*find_packages(str(HERE), include=["gatewayd", "gatewayd.*"]), "twisted.plugins"],
    package_data={"gatewayd": ["py.typed", "**/*.lua", "**/*.html"]},
    entry_points={"console_scripts": ["gatewayctl=gatewayd.ctl:main"]},
    zip_safe=False,
)
