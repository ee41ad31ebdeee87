"""Episodes: who is the query, who are its references, and that all of it is seeded."""

import re

import numpy as np
import pytest

from fsad.errors import ConfigError
from fsad.methods.ideal.episodes import episodes, pools_of
from fsad.methods.ideal.settings import Fit

CATEGORIES = ["bolt"] * 9 + ["gasket"] * 7
LABELS = [False] * 4 + [True] * 5 + [False] * 4 + [True] * 3


def drawn(seed, normal=2, anomalous=2, count=400):
    fit = Fit(epochs=1, episodes=count, normal=normal, anomalous=anomalous)
    pools = pools_of(CATEGORIES, LABELS, fit)
    return list(episodes(pools, fit, np.random.default_rng(seed)))


@pytest.mark.parametrize("seed", range(5))
def test_a_query_is_never_among_its_references_and_all_are_of_one_category(seed):
    for episode in drawn(seed):
        places = [episode.query, *episode.normal.tolist(), *episode.anomalous.tolist()]
        assert len(set(places)) == len(places) == 5
        assert len({CATEGORIES[place] for place in places}) == 1
        assert not any(LABELS[place] for place in episode.normal)
        assert all(LABELS[place] for place in episode.anomalous)


def test_half_of_the_queries_have_a_defect_and_every_image_is_a_query():
    queries = [episode.query for episode in drawn(0)]
    assert sum(LABELS[query] for query in queries) / len(queries) == pytest.approx(0.5, abs=0.08)
    assert set(queries) == set(range(16))


def test_episodes_are_a_function_of_their_generator():
    def queries(seed):
        return [episode.query for episode in drawn(seed)]

    assert queries(3) == queries(3)
    assert queries(3) != queries(4)


@pytest.mark.parametrize(
    ("options", "setting", "there", "needed"),
    [({"normal": 4}, "normal", 4, 4), ({"anomalous": 3}, "anomalous", 3, 3)],
)
def test_more_references_than_images_are_refused(options, setting, there, needed):
    name = "bolt" if setting == "normal" else "gasket"
    message = re.escape(
        f"method.fit.{setting}: expected fewer references than the {there} such images of {name} "
        f"in the source, one of which is the query, got {needed}. Take fewer, or leave the "
        "category out of source.category."
    )
    with pytest.raises(ConfigError, match=message):
        drawn(0, **options)
