from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.training import config
from trainer import parse
from trainer.config import Config
from trainer.errors import ConfigError
from trainer.tree import Leaf


def failure(*overrides):
    with pytest.raises(ConfigError) as caught:
        config(*overrides)
    return str(caught.value)


def test_nothing_given_is_the_defaults():
    assert config() == Config()


def test_later_values_replace_earlier_ones():
    assert config("trainer.gamma=0.5", "trainer.gamma=0.6").trainer.gamma == 0.6


def test_the_reference_systems_other_names_are_understood():
    assert config("trainer.update_epochs=7").trainer.num_epochs == 7


def test_all_problems_are_told_at_once_with_the_nearest_spelling():
    message = failure("trainer.learning_rat=1", "trainer.gamma=2", "device=gpu")
    assert "did you mean trainer.learning_rate?" in message
    assert "at least 0 and at most 1, not 2" in message
    assert "must be one of auto, cpu, cuda, mps, not 'gpu'" in message


def test_a_value_in_the_place_of_a_section_is_told_as_such():
    message = failure("trainer.optimizer=adam")
    assert "trainer.optimizer: must be a section, not 'adam'" in message


def test_a_key_in_the_wrong_section_finds_its_own():
    assert "did you mean trainer.gamma?" in failure("model.gamma=0.9")


@pytest.mark.parametrize(
    "override",
    [
        "trainer.learning_rate=0",
        "trainer.learning_rate=.nan",
        "trainer.learning_rate=fast",
        "trainer.batch_size=0.4",
        "trainer.batch_size=.inf",
        "trainer.batch_size=true",
        "trainer.normalize_reward=1",
        "trainer=3",
        "env.name=[a]",
        "env.tasks=3",
        "env.tasks=[1]",
        "seed=-1",
    ],
)
def test_bad_values_are_refused(override):
    assert override in failure(override)


def test_whole_numbers_round_what_an_optimizer_hands_out():
    assert config("trainer.batch_size=131.6").trainer.batch_size == 132


def test_the_learning_rate_may_stand_with_the_optimiser_or_beside_it():
    nested = config("trainer.optimizer.learning_rate=0.02", "trainer.optimizer.type=sgd")
    assert (nested.trainer.learning_rate, nested.trainer.optimizer.type) == (0.02, "sgd")


def test_names_may_be_one_text_as_in_a_sweep_file():
    assert config("env.tasks=recall").env.tasks == ("recall",)
    assert config("env.tasks=recall, maze").env.tasks == ("recall", "maze")


def test_environment_arguments_pass_through():
    assert config("env.kwargs.map_name=8x8", "env.kwargs.slippery=false").env.kwargs == {
        "map_name": "8x8",
        "slippery": False,
    }


def test_empty_sections_are_allowed(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("trainer:\nmodel:\n")
    assert parse.load(file) == Config()


def test_a_message_names_file_line_and_column(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("trainer:\n  gama: 1\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:2:3: trainer\.gama: is unknown"):
        parse.load(file)


@given(st.sampled_from(list(parse.options())))
def test_every_default_is_itself_valid(option):
    given_value = list(option.default) if isinstance(option.default, tuple) else option.default
    assert parse.convert(given_value, option) == option.default


def test_the_flat_form_reads_back():
    original = replace(config("trainer.gamma=0.5", "model.recurrence=gru"), seed=3)
    flat = parse.as_mapping(original)
    assert parse.parse([Leaf(key, value, key) for key, value in flat.items()]) == original


def test_every_field_has_a_sentence():
    assert all(option.rule.sentence.endswith((".", "?")) for option in parse.options())
