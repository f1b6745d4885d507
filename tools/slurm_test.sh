#!/usr/bin/env bash
# Evaluate through Slurm; GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS can be set.
source "$(dirname "$0")/launch.sh"
need 4 'PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]' "$@"
through_slurm test "$@"
