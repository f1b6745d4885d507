#!/usr/bin/env bash
# Train through Slurm; GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS can be set.
source "$(dirname "$0")/launch.sh"
need 3 'PARTITION JOB_NAME CONFIG [options of tools/train.py]' "$@"
through_slurm train "$@"
