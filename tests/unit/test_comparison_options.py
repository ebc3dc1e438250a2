"""What the command line says of a comparison is kept apart from the study."""

from hwfit.comparison_options import taken_from

STUDY = {"matrix": {"models": ["net"]}}


def test_what_the_command_line_says_becomes_options_and_leaves_the_study():
    told = {"against": "../it's before", "difference": 0.1, "quality_tolerance": "0.01"}
    study, options = taken_from(STUDY | told, [])
    assert study == STUDY
    assert options == ["--against=../it's before", "--difference=0.1", "--quality-tolerance=0.01"]


def test_without_them_nothing_changes():
    assert taken_from(STUDY, []) == (STUDY, [])


def test_an_empty_value_counts_as_not_given():
    assert taken_from(STUDY | {"against": None}, []) == (STUDY, [])


def test_a_key_that_is_misspelt_stays_for_the_reader_of_the_config_to_refuse():
    study, options = taken_from(STUDY | {"agianst": "x"}, [])
    assert "agianst" in study
    assert options == []


def test_a_config_file_has_no_such_keys(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("against: ../before\n")
    study, options = taken_from(STUDY | {"against": "../before"}, [path])
    assert "against" in study
    assert options == []
