package s3

import (
	"strings"
	"testing"
)

func TestReadCopySource(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		source, byteRange string
		names             string // bucket key, bucket key
		version           string
		length            int64
	}{
		{"b/k", "", "b k", "", -1},
		{"/b/k/l", "bytes=0-0", "b k/l", "", 1},
		{"//k", "bytes=5-14", " k", "", 10},
		{"/b/%C3%BC%2F%3F", "bytes=-5", "b ü/?", "", -1},
		{"/b/k?versionId=v%201", "bytes=9-5", "b k", "v 1", -1},
		{"/b/k?versionId=null", "9-15", "b k", "", -1},
		{"/b/k?versionId=", "bytes=5-", "b k", "", -1},
		{"b", "", "", "", -1},
		{"", "", "", "", -1},
		{"/b/100%", "", "b 100%", "", -1},
		// What each of them is differs by backend.
		{"/b/what?", "", "b what", "", -1},
		{"/b/k?x=y", "", "b k, b k?x=y", "", -1},
		{"/b/k?x=y&versionId=null", "", "b k, b k?x=y&versionId=null", "", -1},
		{"/b/k?versionId=null&x=y", "", "b k", "", -1},
		{"/b/k?x=y&versionId=v", "", "b k, b k?x=y&versionId=v", "v", -1},
		{"/b/k?x?versionId=null", "", "b k, b k?x", "", -1},
		{"/b/a+b%2Bc", "", "b a+b+c, b a b+c", "", -1},
		{"%2Fb%2Fk", "", "b k", "", -1},
		{"b//k", "", "b /k, b k", "", -1},
		{"/b/./k", "", "b ./k, b k", "", -1},
		{"/b/x/../k", "", "b x/../k, b k", "", -1},
		{"/b/k/", "", "b k/, b k", "", -1},
		{"/b/k#f", "", "b k#f, b k", "", -1},
	} {
		got := ReadCopySource([]byte(tt.source), []byte(tt.byteRange))
		var names []string
		for _, n := range got.Names {
			names = append(names, n.Bucket+" "+n.Key)
		}
		if strings.Join(names, ", ") != tt.names || got.VersionID != tt.version || got.Length != tt.length {
			t.Errorf("%q %q: %q, %+v, want %+v", tt.source, tt.byteRange, names, got, tt)
		}
	}
}
