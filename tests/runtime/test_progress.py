import itertools

import pytest

from fsad.runtime.progress import Bar, track


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def terminal(request, monkeypatch):
    """Make rich believe that standard error is a terminal, or is none."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    if request.param:
        monkeypatch.setenv("FORCE_COLOR", "1")
    return request.param


@pytest.mark.usefixtures("terminal")
def test_every_item_comes_out_in_order():
    assert list(track(iter("abc"), "letters", total=3)) == ["a", "b", "c"]


def test_a_bar_with_its_label_shows_on_a_terminal_and_nothing_elsewhere(terminal, capsys):
    list(track(range(3), "building the source bank", total=3))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("building the source bank" in shown.err) == terminal
    assert ("3/3" in shown.err) == terminal
    assert bool(shown.err) == terminal


@pytest.mark.usefixtures("terminal")
def test_items_are_taken_one_by_one_as_they_are_asked_for():
    taken = []
    items = (taken.append(item) or item for item in itertools.count())
    bar = track(items, "numbers", total=10)
    assert taken == []
    assert [next(bar), next(bar)] == [0, 1]
    assert taken == [0, 1]
    bar.close()


@pytest.mark.usefixtures("terminal")
def test_an_error_passes_through():
    def items():
        yield 1
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        list(track(items(), "numbers", total=2))


def test_a_bar_can_start_in_the_middle_and_shows_its_note(terminal, capsys):
    bar = Bar("rectify", total=9)
    bar.advance("loss 0.5", done=7)
    bar.stop()
    shown = capsys.readouterr().err
    assert ("7/9" in shown) == terminal
    assert ("loss 0.5" in shown) == terminal
