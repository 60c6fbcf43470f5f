package task_test

import (
	"testing"

	"github.com/akubra/akubra/synclog/task"
)

func TestBucketTarget(t *testing.T) {
	for target, want := range map[string]string{
		"/b": "/b", "/b/": "/b", "/": "/b", "": "/b", "/b?": "/b", "/b/?x-id=CreateBucket": "/b",
		"/b?policy": "/b?policy", "/b/?policy": "/b?policy", "/?policy": "/b?policy", "/?policy=": "/b?policy", "/b?%70olicy": "/b?policy",
		"/b?policy&X-Amz-Signature=***&X-Amz-Date=1&x-id=PutBucketPolicy": "/b?policy",
		"/b?AWSAccessKeyId=a&Expires=1&Signature=***&tagging":             "/b?tagging",
		"/b?analytics&id=1": "/b?analytics&id=1", "/?id=1&analytics": "/b?analytics&id=1", "/b?analytics&id=2": "/b?analytics&id=2",
		"http://b.s3/?acl": "/b?acl",
	} {
		if got := task.BucketTarget([]byte("b"), []byte(target)); string(got) != want {
			t.Errorf("%q: %q, want %q", target, got, want)
		}
	}
	if got := task.BucketTarget(nil, []byte("/?x")); string(got) != "/?x" {
		t.Errorf("no bucket: %q", got)
	}
	if got := task.BucketTarget([]byte("b?c"), []byte("/b%3Fc?acl")); string(got) != "/b%3Fc?acl" {
		t.Errorf("an odd name: %q", got)
	}
}
