"""What a stored run's settings may be."""

import inspect

from fsad.data.datamodule import DataModule
from fsad.engine.stored import DATA_SETTINGS


def test_the_settings_of_data_are_the_arguments_of_the_data_module():
    own = [name for name in inspect.signature(DataModule).parameters if name != "protocol"]
    assert list(DATA_SETTINGS) == own
