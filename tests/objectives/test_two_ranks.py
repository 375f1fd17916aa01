import os
import subprocess
import sys
from pathlib import Path

CLAIMS = (
    "negatives_of_all_ranks_give_the_gradient_of_the_whole_batch",
    "codebooks_agree",
    "an_update_on_two_ranks_is_that_of_the_union",
    "what_is_not_finite_on_one_rank_touches_nothing_on_any",
    "codes_of_k_means_are_the_means_of_the_inputs_of_all_ranks",
    "what_is_not_finite_on_one_rank_starts_no_k_means_on_any",
    "objectives_agree_after_accumulated_steps",
)


def test_negatives_and_codebook_hold_on_two_ranks():
    script = Path(__file__).with_name("two_ranks.py")
    ran = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    for claim in CLAIMS:
        for rank in (0, 1):
            assert f"held on rank {rank}: {claim}" in ran.stdout
