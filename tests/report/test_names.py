from ssl_tt.objectives import OBJECTIVES
from ssl_tt.report.names import FAMILIES, FAMILY_COLOURS, chance, colours, full_name, headline, task_name


def test_a_system_keeps_its_colour_whatever_stands_beside_it():
    assert colours(["cpc", "logmel"])["cpc"] == colours(["vqvae", "random", "cpc"])["cpc"]


def test_no_two_systems_share_a_colour_while_any_is_free():
    systems = ["majority", "activity_history", "logmel", "random", "cpc", "vqvae", "cpc-wide", "mine"]
    assert len(set(colours(systems).values())) == len(systems)


def test_an_objective_of_any_name_has_a_colour():
    assert len(colours([f"objective-{i}" for i in range(30)])) == 30


def test_a_representation_is_named_only_where_it_says_more():
    assert full_name("cpc", "context") == "CPC context"
    assert full_name("logmel", "logmel") == "log-mel"
    assert full_name("logmel", "context") == "log-mel context"
    assert full_name("random", "encoder") == "random encoder"
    assert full_name("majority", "none") == "majority"


def test_labels_that_are_in_doubt_are_named_with_the_task():
    assert task_name("shift_hold", {"dialogues": "cue"}) == "shift or hold"
    assert task_name("shift_hold", {"a": "annotated", "b": "proxy"}) == "shift or hold (proxy labels)"
    assert task_name("future_activity", {"a": "proxy"}) == "future activity"


def test_chance_is_that_of_the_metric_or_else_what_the_majority_scores():
    rows = [{"system": "cpc", "value": 0.6}, {"system": "majority", "value": 0.1}]
    assert (chance("roc_auc"), chance("roc_auc", rows)) == (0.5, 0.5)
    assert (chance("accuracy"), chance("accuracy", rows[:1]), chance("accuracy", rows)) == (None, None, 0.1)


def test_the_headline_is_the_tasks_usual_metric_or_what_there_is():
    rows = [{"task": "shift_hold", "metric": metric} for metric in ("weighted_f1", "balanced_accuracy")]
    assert headline(rows, "shift_hold") == "balanced_accuracy"
    assert headline(rows[:1], "shift_hold") == "weighted_f1"


def test_every_objective_belongs_to_a_family_with_a_colour():
    assert FAMILIES.keys() == OBJECTIVES.keys()
    assert set(FAMILIES.values()) == FAMILY_COLOURS.keys() - {"baseline"}
