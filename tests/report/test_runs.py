import numpy as np

from ssl_tt.report.runs import read_losses


def test_losses_are_read_by_split(tmp_path):
    lines = [
        '{"step": 0, "split": "validation", "loss": 5.0, "loss_step_1": 4.0}',
        '{"step": 20, "split": "train", "loss": 4.5, "gradient_norm": 1.0}',
        '{"step": 40, "split": "train", "loss": 4.0, "gradient_norm": 1.0}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    curves = read_losses(tmp_path)
    np.testing.assert_array_equal(curves["train"], [[20, 40], [4.5, 4.0]])
    np.testing.assert_array_equal(curves["validation"], [[0], [5.0]])


def test_a_run_without_validation_has_an_empty_curve(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 20, "split": "train", "loss": 4.5}\n')
    steps, values = read_losses(tmp_path)["validation"]
    assert len(steps) == len(values) == 0
