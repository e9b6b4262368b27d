#!/usr/bin/env bash
# Two "hosts" on one machine, for measurements: two network namespaces with a cable between them. Needs root, iproute2 and
# Open MPI.
#   hosts.sh up [RATE]      RATE: 1gbit …; without it the cable is as fast as memory
#   hosts.sh mpirun ARGS    two ranks, one on each
#   hosts.sh down
set -euo pipefail
self=$(readlink -f "$0")
name() { echo "webgpu-ssl-$1"; }
case ${1:?up, mpirun or down} in
  up)
    ip netns add "$(name a)" && ip netns add "$(name b)"
    ip link add cable netns "$(name a)" type veth peer name cable netns "$(name b)"
    for host in a:1 b:2; do
      of=$(name "${host%:*}")
      ip -n "$of" addr add "10.77.0.${host#*:}/24" dev cable
      ip -n "$of" link set lo up
      ip -n "$of" link set cable up
      [ -z "${2:-}" ] || ip netns exec "$of" tc qdisc add dev cable root tbf rate "$2" burst 64kb latency 50ms
    done
    ;;
  mpirun)
    shift
    hosts=$(mktemp)
    trap 'rm -f "$hosts"' EXIT
    printf '10.77.0.1 slots=1\n10.77.0.2 slots=1\n' > "$hosts"
    ip netns exec "$(name a)" mpirun.openmpi --allow-run-as-root --hostfile "$hosts" --map-by node -np 2 --bind-to none \
      --mca plm rsh --mca plm_rsh_agent "$self agent" --mca plm_rsh_no_tree_spawn 1 \
      --mca oob_tcp_if_include 10.77.0.0/24 --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 "$@"
    ;;
  agent)
    shift
    while [[ $1 == -* ]]; do shift; done
    case $1 in 10.77.0.1) of=$(name a) ;; 10.77.0.2) of=$(name b) ;; *) exit 255 ;; esac
    shift
    exec ip netns exec "$of" /bin/sh -c "$*"
    ;;
  down)
    ip netns del "$(name a)" || true
    ip netns del "$(name b)" || true
    ;;
esac
