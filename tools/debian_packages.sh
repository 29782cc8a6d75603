#!/bin/sh
# debian_packages.sh FOLDER PACKAGE…   unpacks Debian packages into FOLDER, without root.
# Package lists are private to the call, so neither root nor an earlier `apt-get update` is needed.
set -eu
folder=$1
shift
mkdir -p "$folder" && folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/state"
set -- -qq -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" \
  -o "Debug::NoLocking=1" -o "APT::Sandbox::User=" -- "$@"
options=
while [ "$1" != -- ]; do options="$options $1"; shift; done
shift
# shellcheck disable=SC2086  # options are words without spaces
apt-get $options update >/dev/null
cd "$work"
# shellcheck disable=SC2086
apt-get $options download "$@" >/dev/null
for package in ./*.deb; do dpkg -x "$package" "$folder"; done
