# Functions of dist_train.sh, dist_test.sh, slurm_train.sh and slurm_test.sh, which source this file.
set -euo pipefail
TOOLS=$(dirname "${BASH_SOURCE[0]}")

# need COUNT "ARGUMENTS" "$@": end with the usage if there are fewer arguments.
need() {
    if [ $# -lt $(($1 + 2)) ]; then
        echo "usage: tools/$(basename "$0") $2" >&2
        exit 2
    fi
}

# through_torchrun TOOL NPROC ...: several processes; NNODES, NODE_RANK, MASTER_ADDR and PORT for several machines.
through_torchrun() {
    local tool=$1 nproc=$2 rendezvous
    shift 2
    if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
        rendezvous=(--standalone) # finds a free port
    else
        rendezvous=(--nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}"
            --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
    fi
    exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc-per-node "$nproc" \
        "$TOOLS/$tool.py" "$@" --launcher pytorch
}

# through_slurm TOOL PARTITION JOB_NAME ...: GPUS (8 in all), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS.
through_slurm() {
    local tool=$1 partition=$2 job=$3 gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
    shift 3
    if [ "$gpus" -lt "$per_node" ]; then
        per_node=$gpus
    fi
    # shellcheck disable=SC2086  # SRUN_ARGS holds several words
    exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
        --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "${PYTHON:-python}" -u "$TOOLS/$tool.py" "$@" --launcher slurm
}
