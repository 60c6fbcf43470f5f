#!/bin/sh
# Everything that is released, into a folder that does not exist yet or is empty:
#
#   deploy/release.sh FOLDER
#
#   akubra-VERSION-OS-ARCH                the binaries; .cdx.json is what each is made of (SBOM)
#   akubra_VERSION-1_ARCH.deb, akubra-VERSION-1.ARCH.rpm
#   akubra-VERSION-oci.tar                the image for all architectures, as an OCI layout
#   akubra-VERSION.tgz                    the Helm chart
#   sha256sums                            of all of them
#
# The same commit and the same Go give the same bytes, wherever and whenever it runs: each
# time stamp is the commit's. The test of that is deploy/test.sh.
#
# VERSION            default: git describe
# REVISION           default: the commit
# SOURCE_DATE_EPOCH  default: the commit's time
# RELEASES           default: linux/amd64 linux/arm64 darwin/arm64
set -eu
umask 022
LC_ALL=C TZ=UTC
export LC_ALL TZ

NFPM=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
CYCLONEDX=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

[ $# = 1 ] || { echo "usage: deploy/release.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
[ -z "$(ls -A "$out")" ] || { echo "release: $out is not empty" >&2; exit 1; }
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

VERSION=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || true)}
export SOURCE_DATE_EPOCH
RELEASES=${RELEASES:-linux/amd64 linux/arm64 darwin/arm64}

# at FORMAT: the commit's time. GNU's date, or BSD's.
at() { date -u -d "@$SOURCE_DATE_EPOCH" "+$1" 2>/dev/null || date -u -r "$SOURCE_DATE_EPOCH" "+$1"; }

# Packages go by versions that can be compared: v1.2.3-rc1 comes before 1.2.3 and 1.2.3-4-gabcdef
# after it; what has no tag goes by its time, before every release.
case $VERSION in
v[0-9]* | [0-9]*.[0-9]*)
	package=$(echo "${VERSION#v}" | sed -E 's/-([0-9]+)-(g[0-9a-f]+)/+\1.\2/; s/-dirty/+dirty/; s/-/~/; s/[^0-9A-Za-z.+~]/./g')
	;;
*) package="0~git$(at %Y%m%d%H%M%S).$(echo "$VERSION" | sed 's/[^0-9A-Za-z]/./g')" ;;
esac
# The chart's, as semantic versions have it.
case $package in
0~git*) chart="0.0.0-git.$(at %Y%m%d%H%M%S).$(echo "$VERSION" | sed 's/[^0-9A-Za-z]/-/g; s/^/c/')" ;;
*) chart=$(echo "$package" | sed 's/~/-/') ;;
esac

# Nothing of the machine's own settings but where Go keeps things.
GOFLAGS='' GOWORK=off GOEXPERIMENT='' GOAMD64=v1 GOARM64=v8.0 CGO_ENABLED=0
export GOFLAGS GOWORK GOEXPERIMENT GOAMD64 GOARM64 CGO_ENABLED
host=$(go env GOHOSTOS)/$(go env GOHOSTARCH)
unset GOOS GOARCH

# build PLATFORM FILE
build() {
	GOOS=${1%/*} GOARCH=${1#*/} go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o "$2" .
}

for platform in $RELEASES; do
	binary=$out/akubra-$VERSION-${platform%/*}-${platform#*/}
	echo "release: ${binary##*/}"
	build "$platform" "$binary"
	go run "$CYCLONEDX" bin -json -std -noserial -notimestamp -version "$VERSION" -output "$binary.cdx.json" "$binary" 2>"$work/said" ||
		{ cat "$work/said" >&2; exit 1; }
done
# Completions and manual page come from the program itself, as this machine runs it.
native=$out/akubra-$VERSION-${host%/*}-${host#*/}
[ -x "$native" ] || { native=$work/native && build "$host" "$native"; }

# The folder that nfpm takes everything from (deploy/packages/nfpm.yaml).
stage=$work/stage
mkdir -p "$stage/doc/docs" "$stage/doc/examples"
cp deploy/packages/* deploy/systemd/* LICENSE "$stage"
for shell in bash zsh fish; do "$native" completion $shell >"$stage/completion.$shell"; done
"$native" man | gzip -9n >"$stage/akubra.1.gz"
"$native" config >"$stage/doc/examples/config.yaml"
cp deploy/packages/sysctl.conf "$stage/doc/examples"
cp -r deploy/prometheus deploy/grafana "$stage/doc/examples"
cp README.md "$stage/doc"
cp docs/*.md docs/*.svg "$stage/doc/docs"
gzip -9n <CHANGELOG.md >"$stage/doc/changelog.gz"
{
	printf 'akubra (%s-1) unstable; urgency=medium\n\n  * See changelog.gz.\n\n' "$package"
	printf ' -- The Akubra authors <akubra@users.noreply.github.com>  %s\n' "$(at '%a, %d %b %Y %H:%M:%S +0000')"
} | gzip -9n >"$stage/changelog.Debian.gz"
# What is linked into the binary, and its licenses, which say that they have to go with it.
{
	echo "Go's standard library"
	cat "$(go env GOROOT)/LICENSE"
	GOOS=linux go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' . | sort -u |
	while read -r module version dir; do
		printf '\n\n==== %s %s\n\n' "$module" "$version"
		found=
		for license in "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/COPYING* "$dir"/NOTICE*; do
			if [ -f "$license" ]; then cat "$license"; found=yes; fi
		done
		[ -n "$found" ] || { echo "release: $module has no license" >&2; exit 1; }
	done
} >"$work/licenses"
gzip -9n <"$work/licenses" >"$stage/doc/third-party-licenses.gz"
# Whatever rights and times the checkout has.
chmod -R u=rwX,go=rX "$stage"
find "$stage" -exec touch -d "$(at %Y-%m-%dT%H:%M:%SZ)" {} +

for platform in $RELEASES; do
	[ "${platform%/*}" = linux ] || continue
	cp "$out/akubra-$VERSION-linux-${platform#*/}" "$stage/akubra"
	touch -d "$(at %Y-%m-%dT%H:%M:%SZ)" "$stage/akubra"
	# A deb's summary is its description's first line; an rpm has a field for it.
	sed '/^description: /{n;d;}' "$stage/nfpm.yaml" >"$stage/nfpm.rpm.yaml"
	cp "$stage/nfpm.yaml" "$stage/nfpm.deb.yaml"
	for packager in deb rpm; do
		(cd "$stage" && VERSION=$package ARCH=${platform#*/} go run "$NFPM" package --config nfpm.$packager.yaml --packager $packager --target "$out" >"$work/said") ||
			{ cat "$work/said" >&2; exit 1; }
	done
	set -- "$@" "${platform#*/}=$out/akubra-$VERSION-linux-${platform#*/}"
done
shift
(cd deploy/release && go run -buildvcs=false ./oci -version "$VERSION" -revision "$REVISION" -license "$root/LICENSE" -licenses "$work/licenses" \
	-out "$out/akubra-$VERSION-oci.tar" "$@")
(cd deploy/release && go run -buildvcs=false ./chart -version "$chart" -app "$VERSION" -out "$out" ../helm/akubra)

cd "$out"
if command -v sha256sum >/dev/null; then sha256sum akubra*; else shasum -a 256 akubra*; fi >"$work/sums"
mv "$work/sums" sha256sums
chmod 644 sha256sums
ls
