package repair

import (
	"testing"
	"time"
)

func TestEventOf(t *testing.T) {
	t.Parallel()
	const seq = uint64(1e18)
	late := time.Unix(0, 1e18).Add(slackUnsettled)
	for _, c := range []struct {
		name string
		task flat
		want event
	}{
		{"doubt", flat{Method: "PUT", Target: "/b/k", ETag: "e", Doubt: true}, event{kind: eventWrite, etag: "e", limit: late, doubt: true}},
		{"put", flat{Method: "PUT", Target: "/b/k", ETag: `"e"`}, event{kind: eventWrite, etag: "e", limit: late}},
		{"put, signed in the query", flat{Method: "PUT", Target: "/b/k?X-Amz-Date=1&x-id=PutObject", ETag: "e"}, event{kind: eventWrite, etag: "e", limit: late}},
		{"settled", flat{Method: "PUT", Target: "/b/k", Settled: 2e18}, event{kind: eventWrite, etag: "", limit: time.Unix(0, 2e18).Add(slack)}},
		{"settled before its acknowledgement", flat{Method: "PUT", Target: "/b/k", Settled: 1}, event{kind: eventWrite, etag: "", limit: time.Unix(0, 1e18).Add(slack)}},
		{"completion", flat{Method: "POST", Target: "/b/k?uploadId=x", ETag: "e-2"}, event{kind: eventWrite, etag: "e-2", limit: late}},
		{"delete", flat{Method: "DELETE", Target: "/b/k"}, event{kind: eventDelete, etag: "", limit: late}},
		{"delete, with parameters", flat{Method: "DELETE", Target: "/b/k?x-id=DeleteObject"}, event{kind: eventDelete, etag: "", limit: late}},
		{"one of many deleted", flat{Method: "DELETE", Target: "/b?delete", SubResource: true}, event{kind: eventDelete, etag: "", limit: late}},
		{"one of many deleted, as posted", flat{Method: "POST", Target: "/b/?delete="}, event{kind: eventDelete, etag: "", limit: late}},
		{"one of many deleted, its target not marked", flat{Method: "DELETE", Target: "/b?delete"}, event{kind: eventDelete, etag: "", limit: late}},
		{"one version of many", flat{Method: "DELETE", Target: "/b?delete&versionId=v"}, event{}},
		{"put of an object called delete", flat{Method: "PUT", Target: "/b/k?delete", ETag: "e"}, event{kind: eventWrite, etag: "e", limit: late}},
		{"put with what only reading knows", flat{Method: "PUT", Target: "/b/k?versions", ETag: "e"}, event{kind: eventWrite, etag: "e", limit: late}},
		{"put with what is a bucket's", flat{Method: "PUT", Target: "/b/k?policy", ETag: "e"}, event{kind: eventWrite, etag: "e", limit: late}},
		{"put with a version", flat{Method: "PUT", Target: "/b/k?versionId=1", ETag: "e"}, event{kind: eventWrite, etag: "e", limit: late}},
		{"delete with what is only put", flat{Method: "DELETE", Target: "/b/k?acl"}, event{kind: eventDelete, etag: "", limit: late}},
		{"restore", flat{Method: "POST", Target: "/b/k?restore"}, event{kind: eventSub, etag: "", limit: late}},
		{"tags", flat{Method: "PUT", Target: "/b/k?tagging", ETag: "e"}, event{kind: eventSub, etag: "", limit: late}},
		{"tags deleted", flat{Method: "DELETE", Target: "/b/k?tagging="}, event{kind: eventSub, etag: "", limit: late}},
		{"a subresource that only the engine knows", flat{Method: "DELETE", Target: "/b/k?new", SubResource: true}, event{kind: eventSub, etag: "", limit: late}},
		{"a version", flat{Method: "DELETE", Target: "/b/k?versionId=1"}, event{}},
		{"no version", flat{Method: "DELETE", Target: "/b/k?versionId=null"}, event{kind: eventDelete, etag: "", limit: late}},
		{"found by verify", flat{Target: "/b/k"}, event{}},
		{"delete, not acknowledged", flat{Method: "DELETE", Target: "/b/k", Unacknowledged: true}, event{}},
		{"put, not acknowledged", flat{Method: "PUT", Target: "/b/k", ETag: "e", Unacknowledged: true}, event{}},
		{"tags, not acknowledged", flat{Method: "PUT", Target: "/b/k?tagging", Unacknowledged: true}, event{kind: eventSub, etag: "", limit: late}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.task.Seq, c.task.Key = seq, "k"
			task := c.task.task()
			if got := eventOf(&task); got.kind != c.want.kind || got.etag != c.want.etag || got.doubt != c.want.doubt || !got.limit.Equal(c.want.limit) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n := range 200 {
		if d := backoff(n, time.Second, time.Minute); d < 0 || d >= time.Minute || n < 7 && d >= time.Second<<max(n-1, 0) {
			t.Errorf("after %d failures: %s", n, d)
		}
	}
}
