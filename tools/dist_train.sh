#!/usr/bin/env bash
# Several processes through torchrun:  tools/dist_train.sh CONFIG NPROC [options of tools/train.py]
# Several machines: run it on each with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR and PORT set alike.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: tools/dist_train.sh CONFIG NPROC [options of tools/train.py]" >&2
    exit 2
fi
CONFIG=$1 NPROC=$2
shift 2
NNODES=${NNODES:-1}
if [ "$NNODES" = 1 ] && [ -z "${PORT:-}" ]; then
    RENDEZVOUS=(--standalone) # finds a free port
else
    RENDEZVOUS=(--nnodes "$NNODES" --node-rank "${NODE_RANK:-0}"
        --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${RENDEZVOUS[@]}" --nproc-per-node "$NPROC" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
