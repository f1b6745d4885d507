#!/usr/bin/env bash
# Evaluate with several processes; on several machines, run it on each with NNODES, NODE_RANK, MASTER_ADDR, PORT.
source "$(dirname "$0")/launch.sh"
need 3 'CONFIG CHECKPOINT NPROC [options of tools/test.py]' "$@"
through_torchrun test "$3" "$1" "$2" "${@:4}"
