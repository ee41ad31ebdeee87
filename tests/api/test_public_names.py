"""The names of ``fsad.__all__``: each is there, documented, and has an example that runs."""

import doctest
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fsad

ROOT = Path(__file__).parents[2]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", fsad.__all__)
def test_the_example_of_a_public_name_does_what_it_says(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    tests = doctest.DocTestFinder(recurse=False).find(getattr(fsad, name), name, globs={})
    assert any(test.examples for test in tests)
    runner, told = doctest.DocTestRunner(optionflags=OPTIONS), []
    for test in tests:
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


@pytest.mark.parametrize("name", fsad.__all__)
def test_a_public_name_is_the_thing_itself_and_on_the_page_of_the_api(name):
    thing = getattr(fsad, name)
    assert thing is getattr(import_module(thing.__module__), name)
    assert inspect.getdoc(thing)
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert re.search(rf"^::: fsad\.(\S+\.)?{name}$", page, re.M)


def test_public_names_are_listed_and_no_others_are_made_up():
    assert set(fsad.__all__) <= set(dir(fsad))
    with pytest.raises(AttributeError, match="has no attribute 'Gone'"):
        _ = fsad.Gone


def test_importing_the_package_takes_no_time():
    code = (
        "import time; start = time.perf_counter(); import fsad; print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.2
