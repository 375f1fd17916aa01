"""The Slurm job, with a scheduler made of three scripts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

JOB = Path("recipes/slurm/pretrain.sbatch").resolve()
SRUN = '#!/bin/bash\nexec "$@"\n'
SCONTROL = """#!/bin/bash
echo "$@" >> "$LOG/asked"
[[ $1 == show ]] && printf "${FIRST_NODE:-node7}\\nnode8\\n"
exit 0
"""
TORCHRUN = """#!/bin/bash
printf '%s\\n' "$@" > "$LOG/given"
echo "$OMP_NUM_THREADS" > "$LOG/threads"
trap 'touch "$LOG/checkpoint"; sleep 0.3; exit 1' USR1
touch "$LOG/started"
[[ -n ${LEAVES_WITH:-} ]] && exit "$LEAVES_WITH"
while true; do sleep 0.02; done
"""
REAL_TORCHRUN = f"""#!/bin/bash
options=("${{@:1:12}}") # all before -m ssl_tt.cli
exec {sys.executable} -m torch.distributed.run "${{options[@]}}" --no-python "$LOG/worker"
"""
WORKER = """#!/bin/bash
trap 'touch "$LOG/checkpoint-$RANK-of-$WORLD_SIZE"; exit 3' USR1
touch "$LOG/started-$RANK"
while true; do sleep 0.02; done
"""


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """Environment of a job on 2 nodes of 4 GPUs."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("torchrun", TORCHRUN)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {
        "JOB_ID": "4100123",
        "JOB_NODELIST": "node[7-8]",
        "NNODES": "2",
        "GPUS_ON_NODE": "4",
        "CPUS_PER_TASK": "32",
    }
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path)} | {
        f"SLURM_{name}": value for name, value in slurm.items()
    }


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    command = ["bash", str(JOB), "pretrain", "a recipe.toml", "--out", "run"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def requeued(log: Path) -> bool:
    return "requeue 4100123" in (log / "asked").read_text().splitlines()


def test_every_node_starts_a_process_for_each_gpu_and_meets_the_others(job: dict[str, str], tmp_path: Path) -> None:
    assert start(job | {"LEAVES_WITH": "0"}).wait(20) == 0
    given = (tmp_path / "given").read_text().splitlines()
    options = dict(zip(given[:-6:2], given[1:-6:2], strict=True))
    assert options == {
        "--nnodes": "2",
        "--nproc_per_node": "4",
        "--rdzv_backend": "c10d",
        "--rdzv_id": "4100123-0",
        "--rdzv_endpoint": "node7:20123",
        "--signals-to-handle": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    }
    assert given[-6:] == ["-m", "ssl_tt.cli", "pretrain", "a recipe.toml", "--out", "run"]
    assert (tmp_path / "threads").read_text() == "8\n"
    assert not requeued(tmp_path)


def test_the_signal_is_handed_on_and_queues_the_job_again(job: dict[str, str], tmp_path: Path) -> None:
    process = start(job)
    wait_for(tmp_path / "started", process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 1
    assert (tmp_path / "checkpoint").exists()  # and was waited for
    assert requeued(tmp_path)


def test_torchrun_itself_hands_the_signal_on_to_its_processes(job: dict[str, str], tmp_path: Path) -> None:
    for name, text in (("torchrun", REAL_TORCHRUN), ("worker", WORKER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    process = start(job | {"FIRST_NODE": "localhost", "SLURM_NNODES": "1", "PROCESSES": "2"})
    for rank in (0, 1):
        wait_for(tmp_path / f"started-{rank}", process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 1
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-0-of-2", "checkpoint-1-of-2"]
    assert requeued(tmp_path)


@pytest.mark.parametrize(("code", "again"), [(0, False), (1, False), (2, False), (3, True)])
def test_only_what_was_stopped_is_queued_again(code: int, again: bool, job: dict[str, str], tmp_path: Path) -> None:
    assert start(job | {"LEAVES_WITH": str(code)}).wait(20) == code
    assert requeued(tmp_path) == again


def test_a_job_without_gpus_says_how_to_run_on_cpu(job: dict[str, str], tmp_path: Path) -> None:
    del job["SLURM_GPUS_ON_NODE"]
    process = start(job)
    assert "PROCESSES" in process.communicate(timeout=20)[1]
    assert process.returncode != 0
    assert start(job | {"PROCESSES": "2", "LEAVES_WITH": "0"}).wait(20) == 0
    assert "--nproc_per_node\n2\n" in (tmp_path / "given").read_text()
