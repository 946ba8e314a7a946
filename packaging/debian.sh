# Sourced by packaging/setup and tests/run: Debian packages, only those that are missing, without a question asked.
# shellcheck shell=bash

# missing PACKAGE...: those that are not installed, a line each.
missing() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] || echo "$package"
    done
}

apt_quiet() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" < /dev/null
}

# install_missing [-t SUITE] PACKAGE...: as root; the package lists are fetched once a run, and only if there is something to install.
install_missing() {
    local suite=()
    if [[ $1 == -t ]]; then
        suite=(-t "$2")
        shift 2
    fi
    local wanted
    mapfile -t wanted < <(missing "$@")
    ((${#wanted[@]})) || return 0
    echo "installing: ${wanted[*]}"
    if [[ -z ${apt_updated:-} ]]; then
        apt_quiet update
        apt_updated=yes
    fi
    apt_quiet "${suite[@]}" install "${wanted[@]}" > /dev/null
}

# install_unstarted PACKAGE...: the same for servers that only tests start, in namespaces. Debian starts what it installs, and at each
# boot again: a DHCP server must not come to answer on the tester's own network.
install_unstarted() {
    local wanted policy=/usr/sbin/policy-rc.d made=
    mapfile -t wanted < <(missing "$@")
    ((${#wanted[@]})) || return 0
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        made=yes
    fi
    local result=0
    install_missing "${wanted[@]}" || result=$?
    [[ -z $made ]] || rm -f "$policy"
    if [[ -d /run/systemd/system ]]; then
        local package
        for package in "${wanted[@]}"; do systemctl --quiet disable --now "$package" 2> /dev/null || true; done
    fi
    return "$result"
}
