"""Values on train.py's command line that Hydra's grammar would read as something else."""

import re
import shlex


def key_of(override: str) -> str:
    """Return what an override is about: a setting's dotted name, or a group's."""
    return override.lstrip("+~").partition("=")[0]


def quoted(value: str) -> str:
    """Return a text so that Hydra reads it as it is, whatever is in it.

    Law (``tests/run/test_overrides.py``): as the value of a setting it is the text again.
    """
    value = value.replace("${", r"\${")  # it refers to no other setting
    # Of backslashes, those before a quotation mark alone are doubled.
    escaped = re.sub(
        r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), value
    )
    return f"'{escaped}'"


def pasted(key: str, value: str) -> str:
    """Return ``key=value`` to be pasted into a shell, which takes quotation marks away too."""
    word = f"{key}={quoted(value)}"
    is_plain = not set(word) & set('"$`!') and r"\\" not in word
    return f'"{word}"' if is_plain else shlex.quote(word)


def unreadable(override: str) -> str | None:
    """Say that Hydra cannot read an override, and how to quote it; None if it has no value."""
    key, _, value = override.partition("=")
    if not key or not value:
        return None
    return (
        f"{key}: expected a value that Hydra can read, got {value}. One with a comma, =, a bracket "
        "or another such sign needs quotation marks twice, for Hydra and for the shell: "
        f"{pasted(key, value)}"
    )
