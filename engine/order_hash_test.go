package engine

import (
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/task"
)

func TestR27OneObjectHasOneHash(t *testing.T) {
	domains := []string{"s3.test"}
	hash := func(target, host string) uint64 {
		parsed := s3.ParseTarget([]byte(target), []byte(host), domains)
		return hashOfTarget(&parsed)
	}
	same := [][2]string{
		{"/b/a%20b", "s3.test"}, {"/b/%61%20%62", "s3.test"}, {"/a%20b", "b.s3.test"}, {"/a%20b", "b.S3.test:80"},
		{"http://s3.test/b/a%20b", "s3.test"}, {"/b/a%20b?x-id=PutObject", "s3.test"}, {"/%62/a%20b", "s3.test"},
	}
	want := hash("/b/a b", "s3.test")
	for _, s := range same {
		if got := hash(s[0], s[1]); got != want {
			t.Errorf("%s on %s has another hash", s[0], s[1])
		}
	}
	for _, other := range []string{"/b/a+b", "/b/a%2520b", "/ba/b", "/b/a%20B", "/b//a%20b", "/B/a%20b", "/%2562/a%20b"} {
		if hash(other, "s3.test") == want {
			t.Errorf("%s has the hash of another object", other)
		}
	}
	if hash("/b%2541/k", "s3.test") != hashKey("b%41", "k") || hash("/b%41/k", "s3.test") != hashKey("bA", "k") {
		t.Error("what the journal knows a key by has another hash")
	}
	// Where the bucket ends counts, and a broken escape is no escape.
	if hash("/b/c/d", "s3.test") == hash("/c/d", "other") || hash("/b/%4", "s3.test") == hash("/b/%04", "s3.test") {
		t.Error("different objects have one hash")
	}
}

// What a write is to is worked out for the first request of an engine as for each later
// one: a request's memory tells nothing of the one before it.
func TestR35FirstWriteIsToTheObject(t *testing.T) {
	for _, target := range []string{"/b/k?versions", "/b/k?policy"} {
		t.Run(target, func(t *testing.T) {
			r := newRig(t, 2)
			r.stores[1].BehaveNext(stub.Fails(500))
			wantStatus(t, r.put(target, "v"), 200)
			r.settled()
			if e := r.journal.newest("b", "k"); e.Owed != 0b10 || e.Aspect != task.Content {
				t.Errorf("the journal has %+v", e.Promise)
			}
		})
	}
	t.Run("DELETE /b/k?acl", func(t *testing.T) {
		r := newRig(t, 2)
		r.stores[1].BehaveNext(stub.Fails(500))
		wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/k?acl")), 204)
		r.settled()
		if e := r.journal.newest("b", "k"); e.Owed != 0b10 || e.Aspect != task.Content {
			t.Errorf("the journal has %+v", e.Promise)
		}
	})
}
