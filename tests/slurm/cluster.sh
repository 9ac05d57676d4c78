#!/usr/bin/env bash
# A SLURM of one node on this machine, for the tests. All of it lies in one folder.
#
#   cluster.sh start FOLDER     then: export PATH=FOLDER/bin:$PATH
#   cluster.sh stop FOLDER
#
# Needs Debian's slurm-wlm and munge. Daemons and jobs run as the user who calls it.
set -euo pipefail

PATH="$PATH:/usr/sbin:/usr/bin"
# The node claims more processors than the machine may have, so that several jobs run side by side.
CPUS=4
START_TIMEOUT_S=60
STOP_TIMEOUT_S=20

fail() {
    echo "cluster.sh: $*" >&2
    exit 1
}

# Two ports that nobody listens on; the first stays bound until the second is chosen.
free_ports() {
    python3 - <<'END'
import socket

sockets = [socket.create_server(("", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in sockets))
END
}

start() {
    local name
    for name in munged slurmctld slurmd sinfo; do
        command -v "$name" >/dev/null || fail "$name not found: install Debian's slurm-wlm and munge."
    done
    [ ! -e "$folder/slurm.conf" ] || fail "there is a cluster in $folder already; stop it first."
    mkdir -p "$folder"/{bin,munge,state,spool,log}

    local control_port node_port
    read -r control_port node_port <<<"$(free_ports)"
    local user host
    user=$(id -un)
    host=$(hostname -s)
    dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
    chmod 600 "$folder/munge/key"
    cat >"$folder/slurm.conf" <<END
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
SlurmctldPort=$control_port
SlurmdPort=$node_port
AuthType=auth/munge
# SLURM holds a requeued job back for as long as credentials live, two minutes unless told.
AuthInfo=socket=$folder/munge/socket,cred_expire=30
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
# Nothing that needs control groups, a database or a mail program.
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
SwitchType=switch/none
SchedulerType=sched/backfill
# Without these, jobs wait for many seconds before SLURM looks at them.
SchedulerParameters=bf_interval=2,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
KillWait=10
# Seconds that squeue knows of finished jobs: long enough for tests to look back.
MinJobAge=3600
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=65536 State=UNKNOWN
PartitionName=batch Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
    # SLURM's commands look for their configuration in SLURM_CONF or in /etc. Snakemake's jobs start srun without any
    # variable of SLURM, and /etc is not ours, so each command of FOLDER/bin names the file itself.
    for name in sacct sacctmgr sbatch scancel scontrol sinfo squeue srun sshare; do
        printf '#!/bin/sh\nSLURM_CONF=%q exec %q "$@"\n' "$folder/slurm.conf" "$(command -v $name)" >"$folder/bin/$name"
        chmod +x "$folder/bin/$name"
    done
    export SLURM_CONF="$folder/slurm.conf"
    # --force: without it munged wants a socket that every user can reach, and folders of tests are private.
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
        --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" ||
        fail "munged did not start; see $folder/munge/log."
    slurmctld -c -f "$SLURM_CONF" || fail "slurmctld did not start; see $folder/log/slurmctld.log."
    slurmd -c -N "$host" -f "$SLURM_CONF" || fail "slurmd did not start; see $folder/log/slurmd.log."
    local second
    for ((second = 0; second < START_TIMEOUT_S; second++)); do
        if [ "$(sinfo --noheader --format=%t 2>/dev/null)" = idle ]; then
            echo "SLURM is up: export PATH=$folder/bin:\$PATH"
            return
        fi
        sleep 1
    done
    fail "the node was not idle after $START_TIMEOUT_S s; see $folder/log."
}

# The process of a pid file, if it is still the program that wrote it.
running() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] && echo "$pid"
}

stop() {
    [ -e "$folder/slurm.conf" ] || return 0
    export SLURM_CONF="$folder/slurm.conf"
    # Jobs first: a daemon leaves the steps that it started behind.
    timeout 10 scancel --quiet --user="$(id -un)" 2>/dev/null || true
    timeout 10 scancel --quiet --signal=KILL --full --user="$(id -un)" 2>/dev/null || true
    local second pid
    for ((second = 0; second < STOP_TIMEOUT_S; second++)); do
        [ -n "$(timeout 10 squeue --noheader 2>/dev/null)" ] || break
        sleep 1
    done
    for daemon in slurmd slurmctld munged; do
        local file="$folder/$daemon.pid"
        [ "$daemon" != munged ] || file="$folder/munge/pid"
        pid=$(running "$file" "$daemon") || continue
        kill "$pid"
        for ((second = 0; second < STOP_TIMEOUT_S; second++)); do
            running "$file" "$daemon" >/dev/null || break
            sleep 1
        done
        pid=$(running "$file" "$daemon") && kill -KILL "$pid"
    done
    rm -f "$folder/slurm.conf"
}

[ $# = 2 ] || fail "usage: cluster.sh start|stop FOLDER"
folder=$(realpath -m "$2")
case $1 in
    start) start ;;
    stop) stop ;;
    *) fail "usage: cluster.sh start|stop FOLDER" ;;
esac
