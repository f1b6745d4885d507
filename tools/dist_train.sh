#!/usr/bin/env bash
# Train with several processes; on several machines, run it on each with NNODES, NODE_RANK, MASTER_ADDR, PORT.
source "$(dirname "$0")/launch.sh"
need 2 'CONFIG NPROC [options of tools/train.py]' "$@"
through_torchrun train "$2" "$1" "${@:3}"
