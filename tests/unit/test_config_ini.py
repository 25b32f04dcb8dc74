"""
Tests for L{gatewayd.config.ini} and for the files in C{etc}.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.config import Defaults, parse
from gatewayd.config.ini import Ini, Trouble
from gatewayd.config.keys import KEYS, all_keys
from gatewayd.config.sample import sample

ETC = Path(__file__).parents[2] / "etc"
MACHINE = Defaults("host", 1)


def values_of(text: str) -> dict[str, dict[str, str]]:
    """
    What a faultless text gives.
    """
    ini = Ini(text)
    if ini.troubles:
        raise AssertionError(ini.troubles)
    return {
        name: {key: value.text for key, value in section.values.items()}
        for name, section in ini.sections.items()
    }


class IniTests(SynchronousTestCase):
    """
    The grammar.
    """

    def test_values(self) -> None:
        """
        A value is what stands behind the first =, without the white space around it, with no
        sign in it that means anything.
        """
        self.assertEqual(
            values_of("[a]\r\nb= 1=2 # 3 ; %(c)s ${d} \r\n; x\n # y\nc =\n[d]\n"),
            {"a": {"b": "1=2 # 3 ; %(c)s ${d}", "c": ""}, "d": {}},
        )

    def test_continued(self) -> None:
        """
        Lines that are indented deeper than a key are its value's, whatever they look like and
        however far; one that is not ends it.
        """
        self.assertEqual(
            values_of("[a]\nb =\n  1\n\n  # no\n  c = 2\n d\n  [e]\nf = 3\n  [g]\n"),
            {"a": {"b": "1\nc = 2\nd\n[e]", "f": "3\n[g]"}},
        )

    def test_indented_keys(self) -> None:
        """
        Keys may be indented themselves.
        """
        self.assertEqual(values_of("  [a]\n  b = 1\n  c = 2\n"), {"a": {"b": "1", "c": "2"}})

    def test_troubles(self) -> None:
        """
        Every fault is found, with its line, and none causes another.
        """
        text = (
            "key = 1\n[one\nx = 1\nx = 1\n[two] three\n[]\n[four]\ny = 1\nnothing\n   at all\n"
            "y = 2\n  3\n= z\n[four]\ny = 4\nY = 5\n"
        )
        self.assertEqual(
            Ini(text).troubles,
            [
                Trouble(1, "key: a key outside any [section]"),
                Trouble(2, "expected a [section] alone on its line"),
                Trouble(4, "x: given before, on line 3"),
                Trouble(5, "expected a [section] alone on its line"),
                Trouble(6, "expected a [section] alone on its line"),
                Trouble(9, "expected key = value"),
                Trouble(11, "[four] y: given before, on line 8"),
                Trouble(13, "expected key = value"),
                Trouble(14, "[four] section given before, on line 7"),
            ],
        )
        self.assertEqual(Ini(text).sections["four"].values["y"].text, "1")

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["", "", "", " ", "  ", "\t"]),
                st.one_of(
                    st.sampled_from(
                        ["[a]", "[b]", "[ c]", "[DEFAULT]", "x = 1", "x=", "y = [", ""]
                    ),
                    st.sampled_from(["# no", "; no", "z", "= 1", "[a] b", "x = ; #", "u: v = w"]),
                    st.text(max_size=6),
                ),
            ).map("".join)
        ).map("\n".join)
    )
    def test_like_configparser(self, text: str) -> None:
        """
        What this takes, the standard library takes too, and reads alike.
        """
        ini = Ini(text)
        if ini.troubles:
            return
        parser = ConfigParser(delimiters=("=",), interpolation=None, default_section="\0")
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(text)
        theirs = {
            name: {
                key: "\n".join(line for line in value.split("\n") if line)
                for key, value in parser[name].items()
            }
            for name in parser.sections()
        }
        self.assertEqual(values_of(text), theirs)


class SampleTests(SynchronousTestCase):
    """
    The files in C{etc}.
    """

    def test_current(self) -> None:
        """
        C{etc/gateway.ini} is what the code says; if not, C{python -m gatewayd.config.sample}
        writes it anew.
        """
        self.assertEqual((ETC / "gateway.ini").read_text("utf-8"), sample())

    def test_says_nothing(self) -> None:
        """
        As it comes, the sample gives nothing.
        """
        self.assertEqual(values_of(sample()), {section: {} for section in KEYS})

    def test_gives_all_defaults(self) -> None:
        """
        With its keys uncommented the sample gives every key, and nothing but the defaults.
        """
        uncommented = re.sub(r"(?m)^#(?! )", "", sample())
        self.assertEqual(
            {name: list(keys) for name, keys in values_of(uncommented).items()},
            {name: list(keys) for name, keys in KEYS.items()},
        )
        self.assertEqual(
            parse(uncommented, "sample", {}, MACHINE), parse("", "sample", {}, MACHINE)
        )

    def test_described(self) -> None:
        """
        Every key is described in whole sentences.
        """
        for key in all_keys():
            self.assertRegex(key.description, r"\A[A-Z].*\.\Z", key.variable)

    def test_development(self) -> None:
        """
        C{make run} runs the embedded default, and its file holds no secrets.
        """
        text = (ETC / "gateway.dev.ini").read_text("utf-8")
        self.assertEqual(
            parse(text, "dev", {"GATEWAY_GATEWAY_DRAIN_TIME": "10 s"}, MACHINE),
            parse("", "dev", {}, MACHINE),
        )
