#!/bin/sh
# Tests what is released, as root on a Debian: makes everything a second time and compares (the same
# commit has to give the same bytes), then installs, runs, upgrades and removes it.
#
#   deploy/test.sh DIST [flags of go test, as -run TestImage]
#
# DIST is what deploy/release.sh has made of this tree. Debian packages that are missing are
# installed, those of the release removed again.
#
# PACKAGES_FULL  1: the second time nothing is taken from Go's cache. Minutes.
set -eu

fail() {
	echo "packages: $*" >&2
	exit 1
}

[ $# -gt 0 ] || fail "usage: deploy/test.sh DIST [flags of go test]"
DIST=$(cd "$1" && pwd)
export DIST
shift
cd "$(dirname "$0")/release"

missing=
for pair in aws:awscli curl:curl rpm:rpm lintian:lintian logrotate:logrotate adduser:adduser systemd-analyze:systemd man:man-db; do
	command -v "${pair%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
	command -v apt-get >/dev/null || fail "cannot install$missing: this is no Debian"
	[ "$(id -u)" = 0 ] || fail "cannot install$missing: not root"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -o Acquire::Retries=3 update
	# shellcheck disable=SC2086 # several packages
	apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing || fail "cannot install$missing"
fi
[ "$(id -u)" = 0 ] || fail "needs root: it installs the package"

# In another folder, on a machine of another name, in another time zone, from a checkout with other
# rights; with settings that could leak into what is built.
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
binary=$(basename "$(ls -d "$DIST"/akubra-*-linux-amd64)")
version=${binary#akubra-}
version=${version%-linux-amd64}
mkdir "$work/tree"
(cd ../.. && tar -c --exclude=./.git --exclude=./dist --exclude=./data --exclude=./akubra .) | (umask 077 && tar -x --no-same-permissions --touch -C "$work/tree")
[ -z "${PACKAGES_FULL:-}" ] || export GOCACHE="$work/cache"
(
	umask 077
	VERSION=$version SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) REVISION=$(git rev-parse HEAD)
	export VERSION SOURCE_DATE_EPOCH REVISION TZ=Asia/Kathmandu LANG=C.UTF-8 GOFLAGS=-buildvcs=false
	unshare --uts sh -c 'hostname elsewhere; exec "$@"' sh "$work/tree/deploy/release.sh" "$work/again" >/dev/null
) || fail "cannot make the release a second time"
diff -r "$DIST" "$work/again" || fail "the second time gave other bytes"
echo "packages: everything is the same, byte for byte, when it is made again"

[ -z "$(gofmt -l .)" ] || fail "not gofmt'ed: $(gofmt -l .)"
go vet ./...
go test -count=1 -timeout 20m "$@" ./...
