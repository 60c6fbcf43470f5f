#!/bin/sh
# The real-client matrix, from nothing: installs the clients (Debian packages),
# builds the servers (go install) and the proxy, and runs the tests of this folder.
# Everything that is missing and cannot be had ends it; nothing is skipped.
#
#   interop/run.sh [flags of go test, as -run TestMainJob]
#
# INTEROP_BIN       where versitygw and minio are, or are built to
#                   (${XDG_CACHE_HOME:-~/.cache}/akubra-interop/bin)
# INTEROP_FULL      1: repair with 5,000 objects and one of 100 MB, instead of 600 and 12 MB;
#                   225 cut uploads of each kind, instead of 45; a soak of 10 minutes;
#                   the whole main job among hostile clients; 2,000 files to a near and a far
#                   store, in the time that they may take; and minutes of uploads over far links
# INTEROP_SOAK      how long the soak takes, of all topologies together (30s)
# AKUBRA            the proxy's binary; without it, it is built from this tree
# DEB               the package that is installed and shown; without it, it is dist's, or built from this tree
# PAGE_SHOTS        where the pictures of the page go (beside INTEROP_BIN)
# VERSITYGW, MINIO  the versions to build, if they are not there (those that the tests know)
set -eu
cd "$(dirname "$0")"

fail() {
	echo "interop: $*" >&2
	exit 1
}

command -v go >/dev/null || fail "cannot run without go: see https://go.dev/dl"

missing=
for pair in adduser:adduser aws:awscli s3cmd:s3cmd rclone:rclone curl:curl chromium:chromium; do
	command -v "${pair%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
	command -v apt-get >/dev/null || fail "cannot install$missing: this is no Debian; install them by hand"
	[ "$(id -u)" = 0 ] || fail "cannot install$missing: not root; run: sudo apt-get install -y$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -o Acquire::Retries=3 update
	# shellcheck disable=SC2086 # several packages
	apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing || fail "cannot install$missing"
fi

INTEROP_BIN=${INTEROP_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/akubra-interop/bin}
mkdir -p "$INTEROP_BIN"
INTEROP_BIN=$(cd "$INTEROP_BIN" && pwd)
export INTEROP_BIN

# build NAME PACKAGE: one that is there already stays. Outside of this module, so
# that neither its go.mod nor anybody's workspace has a say.
build() {
	[ -x "$INTEROP_BIN/$1" ] && return
	echo "interop: building $1 from $2 (minutes, once)"
	(cd / && GOFLAGS='' GOWORK=off GOBIN="$INTEROP_BIN" CGO_ENABLED=0 go install "$2") || fail "cannot build $1 from $2"
}
build versitygw "github.com/versity/versitygw/cmd/versitygw@${VERSITYGW:-v1.8.0}"
build minio "github.com/minio/minio@${MINIO:-v0.0.0-20260212201848-7aac2a2c5b7c}"

if [ -z "${AKUBRA:-}" ]; then
	AKUBRA=$INTEROP_BIN/akubra
	(cd .. && CGO_ENABLED=0 go build -trimpath -o "$AKUBRA" .) || fail "cannot build akubra"
fi
AKUBRA=$(realpath "$AKUBRA")
export AKUBRA

# The package of `make packages`, if it is there and nothing has changed since.
if [ -z "${DEB:-}" ]; then
	DEB=$(ls -t ../dist/akubra_*_"$(go env GOARCH)".deb 2>/dev/null | head -n 1)
	if [ -z "$DEB" ] || [ -n "$(find .. -name dist -prune -o -newer "$DEB" \( -name '*.go' -o -path '*/page/*' -o -path '../deploy/*' \) -type f -print -quit)" ]; then
		echo "interop: building the package"
		work=$(mktemp -d)
		trap 'rm -rf "$work"' EXIT
		RELEASES=linux/$(go env GOARCH) ../deploy/release.sh "$work" >/dev/null || fail "cannot build the package"
		DEB=$(ls "$work"/akubra_*.deb)
	fi
fi
DEB=$(realpath "$DEB")
PAGE_SHOTS=${PAGE_SHOTS:-$(dirname "$INTEROP_BIN")/shots}
mkdir -p "$PAGE_SHOTS"
export DEB PAGE_SHOTS

(cd .. && go test -count=1 -run Servers ./synclog/repair)

timeout=30m
[ -z "${INTEROP_FULL:-}" ] || timeout=90m
# It says tens of thousands of lines: which tests have failed, and what these said, comes
# once more at the end.
for tool in failures farlink; do
	(cd .. && go build -o "$INTEROP_BIN/$tool" "./internal/testkit/$tool") || fail "cannot build $tool"
done
status=0
go test -count=1 -timeout $timeout -json "$@" ./... 2>&1 | "$INTEROP_BIN/failures" || status=$?
echo "interop: the pictures of the page: $(ls "$PAGE_SHOTS"/*.png 2>/dev/null | tr "\n" " ")"
exit $status
