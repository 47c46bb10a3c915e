#!/usr/bin/env bash
# Fails when a program needs symbols of a newer glibc than given: then it would not start on older systems.
#
#   packaging/glibc.sh PROGRAM VERSION
set -euo pipefail
program=$1 most=$2

needed=$(readelf --version-info --wide "$program" | grep -o 'Name: GLIBC_[0-9.]*' | sed 's/.*GLIBC_//' | sort --version-sort --unique)
newest=$(tail -n 1 <<<"$needed")
if [[ -z $newest ]]; then
    echo "glibc: $program names no version of glibc: is it a program for Linux?" >&2
    exit 1
fi
if [[ $(printf '%s\n' "$newest" "$most" | sort --version-sort | tail -n 1) != "$most" ]]; then
    echo "glibc: $program needs glibc $newest, and $most is the most it may need:" >&2
    readelf --dyn-syms --wide "$program" | grep "@GLIBC_$newest" >&2 || :
    exit 1
fi
echo "glibc: $program needs $newest or newer; its libraries: $(readelf --dynamic "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | paste -sd' ')"
