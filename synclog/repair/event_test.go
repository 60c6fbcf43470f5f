package repair

import (
	"testing"
	"time"
)

func TestEventOf(t *testing.T) {
	const seq = uint64(1e18)
	late := time.Unix(0, 1e18).Add(slackUnsettled)
	for _, c := range []struct {
		name string
		task Task
		want event
	}{
		{"put", Task{Method: "PUT", Target: "/b/k", ETag: `"e"`}, event{eventWrite, "e", late}},
		{"put, signed in the query", Task{Method: "PUT", Target: "/b/k?X-Amz-Date=1&x-id=PutObject", ETag: "e"}, event{eventWrite, "e", late}},
		{"settled", Task{Method: "PUT", Target: "/b/k", Settled: 2e18}, event{eventWrite, "", time.Unix(0, 2e18).Add(slack)}},
		{"settled before its acknowledgement", Task{Method: "PUT", Target: "/b/k", Settled: 1}, event{eventWrite, "", time.Unix(0, 1e18).Add(slack)}},
		{"completion", Task{Method: "POST", Target: "/b/k?uploadId=x", ETag: "e-2"}, event{eventWrite, "e-2", late}},
		{"delete", Task{Method: "DELETE", Target: "/b/k"}, event{eventDelete, "", late}},
		{"delete, with parameters", Task{Method: "DELETE", Target: "/b/k?x-id=DeleteObject"}, event{eventDelete, "", late}},
		{"one of many deleted", Task{Method: "DELETE", Target: "/b?delete", SubResource: true}, event{eventDelete, "", late}},
		{"one of many deleted, as posted", Task{Method: "POST", Target: "/b/?delete="}, event{eventDelete, "", late}},
		{"tags", Task{Method: "PUT", Target: "/b/k?tagging", ETag: "e"}, event{eventSub, "", late}},
		{"tags deleted", Task{Method: "DELETE", Target: "/b/k?tagging="}, event{eventSub, "", late}},
		{"a subresource that only the engine knows", Task{Method: "DELETE", Target: "/b/k?new", SubResource: true}, event{eventSub, "", late}},
		{"a version", Task{Method: "DELETE", Target: "/b/k?versionId=1"}, event{}},
		{"no version", Task{Method: "DELETE", Target: "/b/k?versionId=null"}, event{eventDelete, "", late}},
		{"found by verify", Task{Target: "/b/k"}, event{}},
		{"delete, not acknowledged", Task{Method: "DELETE", Target: "/b/k", Unacknowledged: true}, event{}},
		{"put, not acknowledged", Task{Method: "PUT", Target: "/b/k", ETag: "e", Unacknowledged: true}, event{}},
		{"tags, not acknowledged", Task{Method: "PUT", Target: "/b/k?tagging", Unacknowledged: true}, event{eventSub, "", late}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.task.Seq, c.task.Key = seq, "k"
			if got := eventOf(&c.task); got.kind != c.want.kind || got.etag != c.want.etag || !got.limit.Equal(c.want.limit) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	for n := range 200 {
		if d := backoff(n, time.Second, time.Minute); d < 0 || d >= time.Minute || n < 7 && d >= time.Second<<max(n-1, 0) {
			t.Errorf("after %d failures: %s", n, d)
		}
	}
}
