"""Who may play which role: no image serves two purposes."""

from pathlib import Path

import pytest

from fsad.data.sample import Sample
from fsad.data.task import Role, Task
from fsad.errors import ConfigError


def made(split, stem, defect="good"):
    files = {name: Path(split, defect, name, stem) for name in ("rgb", "depth")}
    return Sample("bolt", split, defect, stem, files)


TRAIN = [made("train", f"{number}") for number in range(4)]
TEST = [made("test", "0"), made("test", "0", "cut"), made("test", "1", "cut")]


def task(test=TEST, **roles):
    return Task("bolt", roles, Role(test, "depth"))


def test_a_shot_may_be_a_source_image_in_another_modality():
    made_of = task(source=Role(TRAIN, "rgb"), shots=Role(TRAIN[:2], "depth"))
    assert made_of.role("shots").samples == TRAIN[:2]
    assert made_of.role("test").samples == TEST


@pytest.mark.parametrize("modality", ["rgb", "depth"])
def test_no_test_sample_is_learnt_from_in_whatever_modality(modality):
    message = r"no sample both in 'shots' and in 'test', got bolt/test/good/0\."
    with pytest.raises(ConfigError, match=message):
        task(shots=Role([*TRAIN, TEST[0]], modality))


def test_no_image_is_in_two_roles():
    message = r"no sample both in 'normals' and in 'shots', got bolt/train/good/1\."
    with pytest.raises(ConfigError, match=message):
        task(normals=Role(TRAIN, "depth"), shots=Role(TRAIN[1:2], "depth"))


def test_a_role_without_labels_has_no_defect():
    message = r"no defect among the unlabelled 'normals', got bolt/test/cut/0\."
    with pytest.raises(ConfigError, match=message):
        task(TEST[:1], normals=Role([*TRAIN, TEST[1]], "rgb"))
    labelled = task(TEST[:1], seen_anomalies=Role(TEST[1:], "rgb", labels=True))
    assert len(labelled.role("seen_anomalies").samples) == 2


def test_a_role_that_is_not_there_is_named_with_those_that_are():
    message = (
        r"protocol: expected one with the role 'source', got one with shots, test\. Choose the "
        r"protocol that the method is made for, as in protocol=cross_domain\."
    )
    with pytest.raises(ConfigError, match=message):
        task(shots=Role(TRAIN, "depth")).role("source")
