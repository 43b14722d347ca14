#!/bin/bash
# The first process of a node: it lives in namespaces of its own, and all that it starts ends with it.
# node.sh FOLDER PROGRAMS NAME ZONE ADDRESS GATEWAY PODS WAYS; ways are SUBNET:NODE,SUBNET:NODE
set -eu
folder=$1 programs=$2 name=$3 zone=$4 address=$5 gateway=$6 all_pods=$7 ways=$8
export PATH=$programs:$PATH

# What the runtime writes beside its own folders stays in here: mounts and sockets of Pods, locks, results of CNI.
mount --make-rshared /
mount -t tmpfs node /run
mount -t tmpfs node /var/lib
mount --bind "$folder/log" /var/log
hostname "$name"

until ip link show eth0 > /dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip addr add "$address/24" dev eth0
ip link set eth0 up
ip route add default via "$gateway"
echo 1 > /proc/sys/net/ipv4/ip_forward
for way in ${ways//,/ }; do ip route add "${way%%:*}" via "${way##*:}"; done

# Starts a program again whenever it ends, as an init system does.
keep() {
    local log=$folder/log/$1.log
    shift
    while true; do
        "$@" >> "$log" 2>&1 || true
        sleep 0.5
    done &
}

keep containerd containerd --config "$folder/containerd.toml"
until ctr --address "$folder/containerd.sock" version > /dev/null 2>&1; do sleep 0.1; done
touch "$folder/up"
keep kubelet kubelet --config="$folder/kubelet.json" --kubeconfig="$folder/kubeconfig" --root-dir="$folder/kubelet" \
    --cert-dir="$folder/kubelet" --hostname-override="$name" --node-ip="$address" \
    --node-labels="topology.kubernetes.io/zone=$zone"
keep kube-proxy kube-proxy --kubeconfig="$folder/kubeconfig" --hostname-override="$name" --cluster-cidr="$all_pods" \
    --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
wait
