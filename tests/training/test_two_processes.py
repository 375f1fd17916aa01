import os
import subprocess
import sys
from pathlib import Path

from ssl_tt.training import checkpoint


def test_what_goes_wrong_on_one_process_stops_both(tiny_recipe: Path, tmp_path: Path) -> None:
    script, run = Path(__file__).with_name("two_processes.py"), tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    ran = subprocess.run(
        [*command, str(tiny_recipe), str(run)],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    for rank in (0, 1):
        assert f"stopped on rank {rank} of 2" in ran.stdout
    assert checkpoint.read_state(checkpoint.find(run, "last"))["step"] == 3
