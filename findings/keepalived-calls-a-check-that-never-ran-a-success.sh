#!/bin/sh
# keepalived runs as a plain user with the network's capabilities, and script_user is that same user: one
# would expect its check scripts to run, or at least to count as failed. It calls setgroups() all the same,
# which needs CAP_SETGID; without it the script never runs, and each try counts as a success. Who confines
# keepalived by systemd's User= has a check that always says "well". Needs root.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
# With all that it needs, as if nothing were installed; nothing is.
mkdir -p "$dir/archives/partial"
: >"$dir/status"
apt-get -qq -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o APT::Sandbox::User=root \
    install --yes --no-install-recommends --download-only keepalived=1:2.2.7-1+b2 >/dev/null
for package in "$dir"/archives/*.deb; do dpkg -x "$package" "$dir/root"; done
cat >"$dir/conf" <<'CONF'
global_defs {
    router_id here
    enable_script_security
    script_user nobody nogroup
}
vrrp_script well {
    script "/bin/false"
    interval 1
    rise 1
    weight -50
    init_fail
}
vrrp_instance here {
    state BACKUP
    interface eth9
    virtual_router_id 51
    priority 100
    virtual_ipaddress { 10.9.9.240/24 }
    track_script { well }
}
CONF

mkdir "$dir/run"
chown nobody "$dir/run"
library=$(echo "$dir"/root/lib/*-linux-gnu):$(echo "$dir"/root/usr/lib/*-linux-gnu)
keepalived="$(echo "$dir"/root/lib*/ld-linux-*.so.*) --library-path $library $dir/root/usr/sbin/keepalived"

said() { # capabilities
    unshare --net sh -euc '
        ip link add eth9 type veth peer name eth8
        ip addr add 10.9.9.1/24 dev eth9
        ip link set lo up && ip link set eth8 up && ip link set eth9 up
        timeout 5 setpriv --reuid nobody --regid nogroup --clear-groups --inh-caps="-all,$1" \
            --ambient-caps="-all,$1" --bounding-set="-all,$1" $3 --dont-fork --log-console \
            --use-file "$2/conf" --pid "$2/run/pid" --vrrp_pid "$2/run/vrrp" 2>&1 || true
    ' sh "$1" "$dir" "$keepalived"
}

network=+net_admin,+net_raw,+net_broadcast
$keepalived --version 2>&1 | head -1 || true
for what in $network $network,+setgid; do
    echo "As nobody, whose check is /bin/false, with $what:"
    said $what | grep -i "setgroups\|VRRP_Script" | cut -d" " -f7- | sort | uniq -c | tee "$dir/$what"
done
grep -q "Couldn't setgroups" "$dir/$network" && grep -q "VRRP_Script(well) succeeded" "$dir/$network"
! grep -q "succeeded\|setgroups" "$dir/$network,+setgid"
