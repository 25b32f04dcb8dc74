"""
From files to configuration: the one part of this package that looks at the machine.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Callable, Mapping

from gatewayd.config import values
from gatewayd.config.draft import Draft
from gatewayd.config.parsing import Defaults, complete
from gatewayd.config.sections import Config
from gatewayd.config.values import WrongValue
from gatewayd.errors import ConfigError

LONGEST_CONFIGURATION = 1024**2
LONGEST_SECRET = 64 * 1024
"""
Bytes. Whoever names a device or a log by mistake gets a message, not a full memory.
"""


_FILES: tuple[tuple[str, str, str, Callable[[str], object]], ...] = (
    ("http", "admin_token_file", "admin_token", values.token),
    ("auth", "secret_file", "secret", values.secret),
    ("auth", "public_key_file", "public_key", values.public_key),
)
"""
Section and key of a file's name, the field that its content fills, and what that may be.
"""


def read(
    path: str | os.PathLike[str] | None,
    environment: Mapping[str, str],
    *,
    require_key: bool = True,
) -> Config:
    """
    The configuration of this process, with the content of the files that it names. Relative
    names start at the ini file's folder; those in the environment, at the working directory.

    @param path: of the ini file; without one there are the environment and the defaults.
    @param require_key: have it a fault if there is no key to check tokens with.
    @raise ConfigError: all the faults there are.
    """
    source = "configuration" if path is None else os.fspath(path)
    try:
        text = "" if path is None else _text(Path(path), LONGEST_CONFIGURATION)
    except WrongValue as wrong:
        raise ConfigError([f"{source}: {wrong}"]) from None
    draft = Draft(text.removeprefix("\ufeff"), source, environment)
    if require_key:
        draft.require_key()
    for section, key, field, reader in _FILES:
        name = getattr(getattr(draft.config, section), key)
        if name is None:
            continue
        folder = Path() if path is None or draft.by_variable(section, key) else Path(path).parent
        try:
            content = _text(folder / name, LONGEST_SECRET).removesuffix("\n").removesuffix("\r")
            draft.fill(section, field, reader(content))
        except WrongValue as wrong:
            draft.fault(section, key, str(wrong))
    config = complete(draft.result(), Defaults(platform.node(), os.getpid()))
    return config.model_copy(update={"path": None if path is None else os.fspath(path)})


def _text(path: Path, longest: int) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(longest + 1)
    except OSError as error:
        raise WrongValue(f"cannot be read: {error.strerror}") from None
    if len(content) > longest:
        raise WrongValue(f"expected a file of at most {longest} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise WrongValue(f"expected UTF-8; line {line} of the file is not") from None
