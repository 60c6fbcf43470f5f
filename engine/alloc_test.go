//go:build !race

package engine

import (
	"testing"

	"github.com/akubra/akubra/engine/pick"
	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// What a signed PUT of aws-cli looks like, and an answer to it.
const (
	sampleTarget = "/bucket/some/folder/an%20object%2B1.jpg?x-id=PutObject"
	sampleHost   = "bucket.s3.a-rather-long-domain-name.example.com:9000"
	sampleHead   = "Host: " + sampleHost + "\r\nAccept-Encoding: identity\r\nContent-Type: image/jpeg\r\n" +
		"User-Agent: aws-cli/2.15.30 md/awscrt#0.19.19 ua/2.0 os/linux#6.1 lang/python#3.11.8\r\n" +
		"Content-MD5: XrY7u+Ae7tCTyyK7j1rNww==\r\nExpect: 100-continue\r\nX-Amz-Date: 20260401T120000Z\r\n" +
		"X-Amz-Content-SHA256: UNSIGNED-PAYLOAD\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIA/20260401/us-east-1/s3/aws4_request, " +
		"SignedHeaders=content-md5;host;x-amz-content-sha256;x-amz-date, Signature=0123456789abcdef\r\n" +
		"Content-Length: 4096\r\nConnection: keep-alive\r\n\r\n"
	sampleAnswer = "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nETag: \"5eb63bbbe01eeed093cb22bb8f5acdc3\"\r\nServer: MinIO\r\n" +
		"X-Amz-Request-Id: 17C4E8A1\r\nDate: Wed, 01 Apr 2026 12:00:00 GMT\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
)

var (
	sampleDomains = []string{"other.test", "s3.a-rather-long-domain-name.example.com"}
	sampleAdded   = headers{{"Cache-Control", "public"}, {"X-Added", "yes"}}
	sampleVotes   = []vote{{State: votePending, Order: 0}, {State: votePositive, Order: 2}, {State: voteNegative, Order: 1}}
)

// The steps that every request takes cost no memory.
func TestStepsDoNotAllocate(t *testing.T) {
	target, host, head := []byte(sampleTarget), []byte(sampleHost), []byte(sampleHead)
	dst := make([]byte, 0, 4<<10)
	e := &generation{addResponse: sampleAdded}
	var answer http1.Answer
	if err := answer.Parse([]byte(sampleAnswer)); err != nil {
		t.Fatal(err)
	}
	writes, under := newOverlaps(), turn{}
	parsed := s3.ParseTarget(target, host, sampleDomains)
	hash := hashOfTarget(&parsed)
	steps := map[string]func(){
		"buildHead": func() {
			if _, _, problem := buildHead(dst[:0], "PUT", target, head, sampleAdded); problem != "" {
				t.Fatal(problem)
			}
		},
		"parseTarget": func() {
			p := s3.ParseTarget(target, host, sampleDomains)
			if p.KindOf("PUT", false) != s3.KindPlain || string(p.Bucket) != "bucket" {
				t.Fatalf("%s", p.Bucket)
			}
		},
		"hash": func() {
			if hashOfTarget(&parsed) != hash {
				t.Fatal("another hash")
			}
		},
		"pick": func() {
			if leg, v := pick.Leg(sampleVotes, 1, true); leg != 1 || v != pick.Answer {
				t.Fatal(leg, v)
			}
		},
		"http1.Answer.parse": func() {
			var a http1.Answer
			if err := a.Parse(answer.Raw); err != nil || a.Length != 0 {
				t.Fatal(err)
			}
		},
		"appendAnswerHead": func() {
			if out := e.appendAnswerHead(dst[:0], &answer); len(out) == 0 {
				t.Fatal("nothing")
			}
		},
		"overlaps": func() {
			writes.begin(&under, hash, writer{})
			if differing, untold := writes.end(&under, 3, true); differing != 0 || untold {
				t.Fatal("there is no other one")
			}
			writes.leave(&under)
		},
	}
	for name, step := range steps {
		if n := testing.AllocsPerRun(500, step); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Nor does it cost anything that all backends have agreed.
func TestAgreementDoesNotAllocate(t *testing.T) {
	e, err := New(Options{Backends: strangers(2), WriteAck: AckFirst, CompareETags: true, RingSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	r := newRequest(e)
	r.head.method, r.head.write, r.head.target = "PUT", true, s3.ParseTarget([]byte(sampleTarget), nil, nil)
	r.legs, r.race.votes = r.legs[:2], []vote{{State: votePositive, Order: 2}, {State: votePositive, Order: 1}}
	for i := range r.legs {
		l := &r.legs[i]
		l.r, l.backend, l.state = r, i, votePositive
		if err := l.answer.Parse([]byte(sampleAnswer)); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(500, r.recordWrite); n != 0 {
		t.Errorf("%v allocations", n)
	}
	// Nor does the client's answer wait for more than the legs that are still out.
	out := []vote{{State: votePending, Order: 0}, {State: votePositive, Order: 1}}
	if n := testing.AllocsPerRun(500, func() {
		if o := r.outcome(out); o.Owed != 1 || o.Reason() != nil {
			t.Fatal(o)
		}
	}); n != 0 {
		t.Errorf("%v allocations with a leg that is out", n)
	}
}
