package engine

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/s3"
)

// deleteBody is a request to delete these keys.
func deleteBody(keys ...string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for _, k := range keys {
		b.WriteString("<Object><Key>" + escapedXML(k) + "</Key></Object>")
	}
	return b.String() + "</Delete>"
}

func escapedXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

func postDelete(body string) string {
	return fmt.Sprintf("POST /b?delete HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func deleteRequestOf(keys ...string) string { return postDelete(deleteBody(keys...)) }

// deleteAnswer is an answer that names what was deleted and what was not, the
// latter as "key|code" or "key|code|version".
func deleteAnswer(deleted []string, failed ...string) stub.Behaviour {
	var b strings.Builder
	b.WriteString(xml.Header + `<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for _, k := range deleted {
		b.WriteString("<Deleted><Key>" + escapedXML(k) + "</Key></Deleted>")
	}
	for _, f := range failed {
		fields := strings.Split(f, "|")
		b.WriteString("<Error><Key>" + escapedXML(fields[0]) + "</Key><Code>" + fields[1] + "</Code><Message>m</Message>")
		if len(fields) > 2 {
			b.WriteString("<VersionId>" + fields[2] + "</VersionId>")
		}
		b.WriteString("</Error>")
	}
	return stub.Behaviour{Status: 200, Body: []byte(b.String() + "</DeleteResult>")}
}

// R24: who is recorded for which key, as "key storage error status".
func TestR24EachKeyIsAWrite(t *testing.T) {
	t.Parallel()
	three := deleteRequestOf("a", "b", "c")
	strange := []string{"a&b<c>\"d'", "ü €/日本", "a//b/../c", " x ", "100%25", "+", "tab\tnew\nline"}
	all := deleteAnswer([]string{"a", "b", "c"})
	quiet := deleteAnswer(nil)
	maintained := func(_ *Options, lo *limiter.Options) { lo.Maintained = 0b10 }
	tests := []struct {
		name    string
		request string
		setup   setup
		first   stub.Behaviour
		second  stub.Behaviour
		down    bool
		want    []string
	}{
		{name: "all deleted", request: three, first: all, second: all},
		{name: "quiet", request: three, first: quiet, second: quiet},
		{name: "quiet and not", request: three, first: quiet, second: all},
		{
			name: "one key fails", request: three, first: all, second: deleteAnswer([]string{"a", "c"}, "b|AccessDenied"),
			want: []string{"b 1 not deleted: AccessDenied 200"},
		},
		{
			name: "one key fails quietly", request: three, first: quiet, second: deleteAnswer(nil, "b|InternalError"),
			want: []string{"b 1 not deleted: InternalError 200"},
		},
		{
			name: "another one fails on each", request: three,
			first: deleteAnswer(nil, "a|InternalError"), second: deleteAnswer(nil, "c|SlowDown"),
			want: []string{"a 0 not deleted: InternalError 200", "c 1 not deleted: SlowDown 200"},
		},
		{name: "one fails on both", request: three, first: deleteAnswer(nil, "a|AccessDenied"), second: deleteAnswer(nil, "a|AccessDenied")},
		{name: "not there is gone", request: three, first: all, second: deleteAnswer(nil, "a|NoSuchKey", "b|NoSuchKey")},
		{
			name: "a whole leg fails", request: three, first: all, second: stub.Fails(500),
			want: []string{"a 1 answered 500 500", "b 1 answered 500 500", "c 1 answered 500 500"},
		},
		{
			name: "a leg fails, and a key on the other", request: three, first: deleteAnswer(nil, "b|AccessDenied"), second: stub.Fails(403),
			want: []string{"a 1 answered 403 403", "c 1 answered 403 403"},
		},
		{
			name: "dead", request: deleteRequestOf("a"), first: all, down: true,
			want: []string{"a 1 cannot connect 0"},
		},
		{
			name: "skipped", request: three, setup: maintained, first: deleteAnswer(nil, "c|AccessDenied"),
			want: []string{"a 1 maintained 0", "b 1 maintained 0"},
		},
		{
			name: "unreadable answer", request: deleteRequestOf("a"), first: all, second: stub.Behaviour{Status: 200, Body: []byte("ok")},
			want: []string{"a 1 unreadable answer to a multi-object delete 200"},
		},
		{
			name: "an answer that leaves a key out", request: three, first: all, second: deleteAnswer([]string{"a"}, "b|AccessDenied"),
			want: []string{"b 1 not deleted: AccessDenied 200", "c 1 left out of the answer to a multi-object delete 200"},
		},
		{
			name: "answers that leave a key out", request: three, first: deleteAnswer([]string{"a", "b"}), second: deleteAnswer([]string{"a", "c"}),
			want: []string{"b 1 left out of the answer to a multi-object delete 200", "c 0 left out of the answer to a multi-object delete 200"},
		},
		{
			name: "an answer that leaves a key out, and a dead one", request: deleteRequestOf("a", "b"), down: true,
			first: deleteAnswer([]string{"a"}), want: []string{"a 1 cannot connect 0", "b 1 cannot connect 0"},
		},
		{
			name: "an answer that spells keys otherwise", request: deleteRequestOf("/a", "b"),
			first: deleteAnswer([]string{"a", "b"}), second: deleteAnswer([]string{"/a", "b"}),
		},
		{
			name: "an empty answer", request: deleteRequestOf("a"), first: all, second: stub.Behaviour{Status: 200, Body: []byte{}},
			want: []string{"a 1 unreadable answer to a multi-object delete 200"},
		},
		{
			name: "an error in a 200", request: deleteRequestOf("a"), first: all, second: stub.ErrorIn200("InternalError"),
			want: []string{"a 1 unreadable answer to a multi-object delete 200"},
		},
		{
			name: "an unreadable answer, and a dead one", request: deleteRequestOf("a"), down: true,
			first: stub.Behaviour{Status: 200, Body: []byte("ok")}, want: []string{"a 1 cannot connect 0"},
		},
		{
			name: "an unreadable answer, and an error", request: deleteRequestOf("a"),
			first: stub.Behaviour{Status: 200, Body: []byte("ok")}, second: deleteAnswer(nil, "a|AccessDenied"),
			want: []string{"a 1 not deleted: AccessDenied 200"},
		},
		{
			name: "chunked answers", request: three, first: stub.Behaviour{Status: 200, Chunked: true, Spaces: 2, Body: all.Body},
			second: stub.Behaviour{Status: 200, Chunked: true, Body: deleteAnswer(nil, "b|AccessDenied").Body},
			want:   []string{"b 1 not deleted: AccessDenied 200"},
		},
		{
			name: "an answer cut short", request: deleteRequestOf("a"), first: all,
			second: stub.Behaviour{Status: 200, Body: all.Body, Cut: stub.CutClose, CutAt: 20},
			want:   []string{"a 1 connection closed before the answer's end 200"},
		},
		{
			name: "strange keys", request: deleteRequestOf(strange...), first: deleteAnswer(strange), second: deleteAnswer(nil, strange[0]+"|E", strange[1]+"|E", strange[4]+"|E", strange[6]+"|E"),
			want: []string{strange[0] + " 1 not deleted: E 200", strange[1] + " 1 not deleted: E 200", strange[4] + " 1 not deleted: E 200", strange[6] + " 1 not deleted: E 200"},
		},
		{
			name: "character references", request: postDelete("<Delete><Object><Key>&#x41;&#66;&quot;</Key></Object></Delete>"),
			first: quiet, second: deleteAnswer(nil, `AB"|E`), want: []string{`AB" 1 not deleted: E 200`},
		},
		{
			name:    "versions",
			request: postDelete("<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object><Object><Key>a</Key><VersionId>null</VersionId></Object></Delete>"),
			first:   quiet, second: deleteAnswer(nil, "a|E|null"), want: []string{"a 1 not deleted: E 200"},
		},
		{
			name: "a failure without a key", request: deleteRequestOf("a", "b"), first: all, second: deleteAnswer(nil, "|InternalError"),
			want: []string{"a 1 not deleted: InternalError 200", "b 1 not deleted: InternalError 200"},
		},
		{
			name: "a failure of something else", request: deleteRequestOf("a", "b"), first: all, second: deleteAnswer(nil, "c|InternalError", "a|SlowDown"),
			want: []string{"a 1 not deleted: SlowDown 200", "b 1 not deleted: InternalError 200"},
		},
		{name: "something else is not there", request: deleteRequestOf("a"), first: all, second: deleteAnswer(nil, "c|NoSuchKey")},
		{
			name: "a failure that names the version", request: deleteRequestOf("a", "b"), first: all, second: deleteAnswer(nil, "a|AccessDenied|null"),
			want: []string{"a 1 not deleted: AccessDenied 200"},
		},
		{
			name: "a failure that names a version by its id", request: deleteRequestOf("a", "b"), first: all, second: deleteAnswer(nil, "a|AccessDenied|3HL4"),
			want: []string{"a 1 not deleted: AccessDenied 200"},
		},
		{name: "no keys", request: postDelete("<Delete></Delete>"), first: quiet, second: stub.Fails(400), want: []string{" 1 answered 400 400"}},
		{name: "no body", request: postDelete(""), first: quiet, second: stub.Fails(400), want: []string{" 1 answered 400 400"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var setups []setup
			if tt.setup != nil {
				setups = append(setups, tt.setup)
			}
			r := newRig(t, 2, setups...)
			r.stores[0].Behave(tt.first)
			r.stores[1].Behave(tt.second)
			if tt.down {
				r.stores[1].Down()
			}
			wantStatus(t, r.dial().Do(tt.request), 200)
			var got []string
			for _, d := range r.settled() {
				who := slices.IndexFunc(r.stores, func(s *stub.Server) bool { return s.Addr() == d.FailedHost })
				if d.SuccessHost != r.host(1-who) || d.Op != OpStoring || d.Bucket != "b" || d.Path != "/b?delete" || d.Method != "POST" {
					t.Errorf("record %+v", d)
				}
				text, _, _ := strings.Cut(d.Error, " to backend")
				got = append(got, fmt.Sprintf("%s %d %s %d", d.Key, who, text, d.Status))
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Fatalf("records\n%q, want\n%q", got, tt.want)
			}
			r.wantNoOverlaps()
		})
	}
}

// However the body comes, it reaches both storages byte for byte, and is acted on.
func TestR24BodyArrivesWhole(t *testing.T) {
	t.Parallel()
	var keys []string
	for i := range 1000 {
		keys = append(keys, fmt.Sprintf("key %d/%s", i, strings.Repeat("x", i%200)))
	}
	body := deleteBody(keys...)
	chunked := func(size int, trailer string) string {
		var b strings.Builder
		b.WriteString("POST /b?delete HTTP/1.1\r\nHost: s3.test\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n")
		for i := 0; i < len(body); i += size {
			piece := body[i:min(len(body), i+size)]
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(piece), piece)
		}
		return b.String() + "0\r\n" + trailer + "\r\n"
	}
	expect := strings.Replace(postDelete(body), "Host:", "Expect: 100-continue\r\nHost:", 1)
	for name, request := range map[string]string{
		"length": postDelete(body), "chunked": chunked(5000, ""), "small chunks": chunked(7, ""),
		"trailer": chunked(1<<20, "X-T: v\r\n"), "expect": expect,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.RingSize = 16 << 10 })
			for _, s := range r.stores {
				for _, k := range keys[:20] {
					s.Put("/b/"+k, []byte("x"))
				}
				s.Put("/b/other", []byte("x"))
			}
			wantStatus(t, r.dial().Do(request), 200)
			r.wantNoRecords()
			for _, s := range r.stores {
				if got := s.Requests()[0]; string(got.Body) != body || name == "trailer" && got.Trailers.Get("X-T") != "v" {
					t.Fatalf("a storage got %d bytes and trailers %v", len(got.Body), got.Trailers)
				}
				if n := len(s.Objects()); n != 1 {
					t.Fatalf("%d objects left", n)
				}
			}
			r.wantNoOverlaps()
		})
	}
}

// What is too large, or not there in whole, reaches no storage.
func TestR24BodyOutOfBounds(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", maxDeleteBody+1)
	tests := []struct {
		name    string
		request string
		close   bool
		code    string
	}{
		{"announced too large", fmt.Sprintf("POST /b?delete HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\nxx", len(large)), false, "MalformedXML"},
		{"too large in a chunk", fmt.Sprintf("POST /b?delete HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(large), large), false, "MalformedXML"},
		{"cut short", "POST /b?delete HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 1000\r\n\r\n" + deleteBody("k"), true, "IncompleteBody"},
		{"cut short between chunks", fmt.Sprintf("POST /b?delete HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(deleteBody("k")), deleteBody("k")), true, "IncompleteBody"},
		{"no chunks", "POST /b?delete HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, "InvalidRequest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2)
			client := r.dial()
			for _, s := range r.stores {
				s.Put("/b/k", []byte("x"))
			}
			if _, err := client.Write([]byte(tt.request)); err != nil && !strings.Contains(tt.name, "too large") {
				t.Fatal(err)
			}
			if tt.close {
				client.CloseWrite()
			}
			a, err := client.ReadAnswer()
			if err != nil || a.Status != 400 || string(s3.Text(a.Body, "Code")) != tt.code {
				t.Fatal(a, err)
			}
			r.wantNoRecords()
			for _, s := range r.stores {
				if len(s.Requests()) != 0 {
					t.Fatalf("a storage got %v", s.Requests())
				}
				wantStored(t, s, "/b/k", "x")
			}
			r.wantNoOverlaps()
		})
	}
}

// Both storages refuse the head of a delete that waits for 100 Continue, at
// about the time when its body comes: nothing of it stays behind.
func TestR24RefusedWhileTheBodyComes(t *testing.T) {
	t.Parallel()
	for range 20 {
		r := newRig(t, 2)
		for _, s := range r.stores {
			s.Behave(stub.Behaviour{Continue: stub.ContinueAlways, During: stub.AnswerAndDrain, After: 1})
		}
		client := r.dial()
		head, body, _ := strings.Cut(deleteRequestOf("k", "l"), "\r\n\r\n")
		client.Send(head + "\r\nExpect: 100-continue\r\n\r\n")
		if a, err := client.ReadHeadTo("POST"); err != nil || a.Status != 100 {
			t.Fatal(a, err)
		}
		client.Send(body)
		if a, err := client.ReadAnswer(); err != nil || a.Status != 403 {
			t.Fatal(a, err)
		}
		r.wantNoOverlaps()
	}
}

// R24 and WriteAck go together: a delete that one storage refuses fails.
func TestR24WriteAckAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.WriteAck = AckAll })
	r.stores[1].Behave(stub.Fails(403))
	wantStatus(t, r.dial().Do(deleteRequestOf("k")), 403)
	if list := r.settled(); len(list) != 1 || list[0].Key != "k" || list[0].FailedHost != r.host(1) {
		t.Fatalf("records: %+v", list)
	}
}

// R24, R3: a key that one backend has not deleted another one may have: that one's answer is the
// client's, whichever came first. Where each has refused some, the one that has refused the fewest.
func TestR24AnswerOfWhoHasDeletedThem(t *testing.T) {
	t.Parallel()
	all := deleteAnswer([]string{"a", "b"})
	for name, tt := range map[string]struct {
		first, second stub.Behaviour
		want          string // in the answer
	}{
		"all, late":      {deleteAnswer(nil, "a|InternalError", "b|InternalError"), all, "<Key>a</Key></Deleted><Deleted><Key>b"},
		"unreadable":     {stub.Behaviour{Status: 200, Body: []byte("ok")}, all, "<Key>a</Key></Deleted><Deleted><Key>b"},
		"one left out":   {deleteAnswer([]string{"a"}), all, "<Key>a</Key></Deleted><Deleted><Key>b"},
		"the fewest":     {deleteAnswer(nil, "a|InternalError", "b|InternalError"), deleteAnswer([]string{"a"}, "b|AccessDenied"), "AccessDenied"},
		"the other dies": {deleteAnswer(nil, "a|InternalError"), stub.Fails(500), "InternalError"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			gate := make(chan struct{})
			tt.second.Gate = gate
			r.stores[0].Behave(tt.first)
			r.stores[1].Behave(tt.second)
			client := r.dial()
			answer := make(chan *stub.Answer, 1)
			go func() { answer <- client.Do(deleteRequestOf("a", "b")) }()
			r.stores[0].WaitDone(t, 1)
			close(gate)
			res := testkit.Receive(t, "the answer", answer)
			wantStatus(t, res, 200)
			if !strings.Contains(string(res.Body), tt.want) {
				t.Errorf("answered %s, want %q in it", res.Body, tt.want)
			}
			r.settled()
		})
	}
}
