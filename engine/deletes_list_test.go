package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/content"
	"github.com/akubra/akubra/s3"
)

func deleteKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	return keys
}

// More than S3 takes is refused while it is being read: before anything is set aside for
// it, and before a backend hears of it (R23, R24).
func TestR24ListOutOfBounds(t *testing.T) {
	t.Parallel()
	object := func(inner string) string { return "<Delete><Object>" + inner + "</Object></Delete>" }
	var attributes strings.Builder
	attributes.WriteString("<Delete><Object")
	for i := range 100_000 {
		fmt.Fprintf(&attributes, ` a%d=">"`, i)
	}
	for _, tt := range []struct{ name, body, code string }{
		{"one key too many", deleteBody(deleteKeys(content.MaxDeletes + 1)...), "MalformedXML"},
		{"the same key over and over", deleteBody(slices.Repeat([]string{"k"}, content.MaxDeletes+1)...), "MalformedXML"},
		{"as many as there is room for", "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", 62_000) + "</Delete>", "MalformedXML"},
		{"as many, and no end", "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", 62_000), "MalformedXML"},
		{"a long key", deleteBody(strings.Repeat("x", content.MaxDeleteKey+1)), "KeyTooLongError"},
		{"a long key in pieces", object("<Key>" + strings.Repeat("<![CDATA[xxxx]]>", content.MaxDeleteKey/4+1) + "</Key>"), "KeyTooLongError"},
		{"a long version", object("<Key>k</Key><VersionId>" + strings.Repeat("x", content.MaxVersionID+1) + "</VersionId>"), "MalformedXML"},
		{"no key", object("<VersionId>v</VersionId>"), "MalformedXML"},
		{"an empty key", deleteBody(""), "MalformedXML"},
		{"two keys", object("<Key>a</Key><Key>b</Key>"), "MalformedXML"},
		{"two versions", object("<Key>a</Key><VersionId>b</VersionId><VersionId></VersionId>"), "MalformedXML"},
		{"a key with elements", object("<Key>a<b/></Key>"), "MalformedXML"},
		{"deep", strings.Repeat("<a>", 200_000), "MalformedXML"},
		{"many elements", "<Delete>" + strings.Repeat("<a/>", 400_000), "MalformedXML"},
		{"many comments", "<Delete>" + strings.Repeat("<!---->", 200_000), "MalformedXML"},
		{"many attributes", attributes.String(), "MalformedXML"},
		// A backend might read what the proxy cannot, and nobody would know of it (R20).
		{"no XML", "what?" + strings.Repeat(" ", maxDeleteBody-5), "MalformedXML"},
		{"half of it", deleteBody("a")[:60] + strings.Repeat(" ", maxDeleteBody-60), "MalformedXML"},
		{"an encoding", `<?xml version="1.0" encoding="ISO-8859-1"?>` + deleteBody("\xe4"), "MalformedXML"},
		{"a long comment", "<Delete><!--" + strings.Repeat("x", 1<<20), "MalformedXML"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2)
			c := r.dial()
			// What is to come need not be waited for.
			c.Send(fmt.Sprintf("POST /b?delete HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n%s", maxDeleteBody, tt.body))
			a, err := c.ReadAnswer()
			if err != nil || a.Status != 400 || string(s3.Text(a.Body, "Code")) != tt.code {
				t.Fatal(a, err)
			}
			c.Close() // or the rest of the body is waited for (R7)
			r.settled()
			r.journal.mu.Lock()
			if n := len(r.journal.slots); n > 0 {
				t.Errorf("%d writes were noted", n)
			}
			r.journal.mu.Unlock()
			for _, s := range r.stores {
				if n := len(s.Requests()); n > 0 {
					t.Errorf("a storage got %d requests", n)
				}
			}
			if n := r.e.deleting.Load(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
			r.wantNoOverlaps()
		})
	}
}

// The largest list that there may be goes through; each object is one write, however
// often it is named.
func TestR24LargestList(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	var gates []func()
	for _, s := range r.stores {
		gates = append(gates, gated(t, s))
	}
	keys := deleteKeys(content.MaxDeletes / 2)
	c := r.dial()
	c.Send(deleteRequestOf(append(keys, keys...)...))
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	if n := len(r.journal.underWay()); n != len(keys) {
		t.Errorf("%d writes under way", n)
	}
	for _, open := range gates {
		open()
	}
	wantStatus(t, c.Answer(), 200)
	r.settled()
	if n := r.e.deleting.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
	r.wantNoOverlaps()
}

// Past the bound of writes under way a client is told to come again (R23).
func TestR23TooManyWritesUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.journal.tooMany.Store(true)
	for _, request := range []string{putRequest("/b/k", "one"), requestFor("DELETE", "/b/k"), deleteRequestOf("a", "b")} {
		a := r.dial().Do(request)
		if wantStatus(t, a, 503); string(s3.Text(a.Body, "Code")) != "SlowDown" {
			t.Errorf("answer %s", a.Body)
		}
	}
	r.journal.tooMany.Store(false)
	r.e.deleting.Store(maxDeleteMemory)
	a := r.dial().Do(deleteRequestOf("a", "b"))
	if wantStatus(t, a, 503); string(s3.Text(a.Body, "Code")) != "SlowDown" {
		t.Errorf("answer %s", a.Body)
	}
	r.settled()
	if n := r.e.deleting.Swap(0); n != maxDeleteMemory {
		t.Errorf("%d bytes are counted", n)
	}
	for _, s := range r.stores {
		if n := len(s.Requests()); n > 0 {
			t.Errorf("a storage got %d requests", n)
		}
	}
	if list := r.log.warned; len(list) > 0 {
		t.Errorf("logged: %v", list)
	}
	wantStatus(t, r.dial().Do(deleteRequestOf("a", "b")), 200)
}

// A list that is framed in signed chunks is read all the same: each key is owed.
func TestR24ListInSignedChunks(t *testing.T) {
	t.Parallel()
	list := deleteBody("a", "ü")
	sum := strings.Repeat("0", 64)
	body := fmt.Sprintf("%x;chunk-signature=%s\r\n%s\r\n%x;chunk-signature=%s\r\n%s\r\n0;chunk-signature=%s\r\n\r\n",
		10, sum, list[:10], len(list)-10, sum, list[10:], sum)
	r := newRig(t, 2)
	r.stores[0].Behave(deleteAnswer(nil))
	r.stores[1].Behave(stub.Fails(500))
	request := strings.Replace(postDelete(body), "Host:", fmt.Sprintf("x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nx-amz-decoded-content-length: %d\r\nContent-Encoding: aws-chunked\r\nHost:", len(list)), 1)
	wantStatus(t, r.dial().Do(request), 200)
	r.wantOwing("DELETE a 10 answered 500", "DELETE ü 10 answered 500")
	if got := r.stores[0].Requests()[0]; string(got.Body) != body {
		t.Errorf("a storage got %q", got.Body)
	}
}

// What a backend reads as a list, the proxy reads: fields that say nothing about the framing,
// and the names of encodings that ASCII is the same in, change nothing.
func TestR24ListsThatBackendsRead(t *testing.T) {
	t.Parallel()
	plain := postDelete(deleteBody("a"))
	labelled := func(encoding string) string {
		return postDelete(`<?xml version="1.0" encoding="` + encoding + `"?>` + deleteBody("a"))
	}
	for name, request := range map[string]string{
		"a decoded length without aws-chunked": strings.Replace(plain, "Host:", "x-amz-decoded-content-length: 10\r\nHost:", 1),
		"ISO-8859-1":                           labelled("ISO-8859-1"),
		"US-ASCII":                             labelled("US-ASCII"),
		"utf8":                                 labelled("utf8"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			r.stores[0].Behave(deleteAnswer(nil))
			r.stores[1].Behave(stub.Fails(500))
			wantStatus(t, r.dial().Do(request), 200)
			r.wantOwing("DELETE a 10 answered 500")
		})
	}
}

// Whoever chooses keys for their hashes makes nobody walk long lists.
func TestR23ManyKeysInOneShard(t *testing.T) {
	t.Parallel()
	o := newOverlaps()
	const n = 20_000
	s := o.shard(0)
	turns := make([]turn, n)
	for i := range uint64(n) {
		o.begin(&turns[i], i*overlapShards, writer{})
		if s.listed > maxListed {
			t.Fatalf("a list of %d", s.listed)
		}
	}
	for i := range uint64(n) {
		hash := i * overlapShards
		if is, _ := o.overlapped(&turns[i]); is {
			t.Fatal("overlapped with itself")
		}
		if i%2 == 0 {
			var other turn
			o.begin(&other, hash, writer{})
			mine, _ := o.overlapped(&turns[i])
			its, _ := o.overlapped(&other)
			if !mine || !its {
				t.Fatal("not overlapped")
			}
			o.leave(&other)
		}
		if !o.beginRepair(hash+overlapShards*n) || o.beginRepair(hash) {
			t.Fatal("repair")
		}
		o.endRepair(hash + overlapShards*n)
		o.leave(&turns[i])
	}
	if s.keys != nil || s.more != nil || s.listed != 0 {
		t.Errorf("left: %d listed, %d beside", s.listed, len(s.more))
	}
	free := 0
	for k := s.free; k != nil; k = k.next {
		free++
	}
	if free > maxListed {
		t.Errorf("%d are kept", free)
	}
}
