package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/s3"
)

// Legs as the tables have them: a backend and what it has come to.

func took(backend, order int) legFacts {
	return legFacts{backend: backend, vote: vote{State: votePositive, Order: order}, status: 200, outcome: OutcomePositive}
}

func tagged(backend, order int, etag string) legFacts {
	f := took(backend, order)
	f.etag = []byte(etag)
	return f
}

func told(backend, order int, key string) legFacts {
	f := took(backend, order)
	f.key, f.status = key, 303
	return f
}

// kept is a positive answer to a multi-object delete that says why it has not deleted a
// key.
func kept(backend, order int, problem string) legFacts {
	f := took(backend, order)
	f.problem = problem
	return f
}

func unreadable(backend, order int) legFacts {
	f := kept(backend, order, "unreadable")
	f.unreadable = true
	return f
}

func isOut(backend int) legFacts { return legFacts{backend: backend} }

func refused(backend, order, status int) legFacts {
	return legFacts{
		backend: backend, vote: vote{State: voteNegative, Order: order}, status: status, outcome: OutcomeNegative,
		err: fmt.Sprint("answered ", status),
	}
}

func failed(backend, order int, outcome string) legFacts {
	return legFacts{backend: backend, vote: vote{State: voteFailed, Order: order}, outcome: outcome, err: "no answer"}
}

// hadAll is a leg that failed when the backend had all of the message.
func hadAll(backend, order int) legFacts {
	f := failed(backend, order, OutcomeFailed)
	f.acted = true
	return f
}

func skipped(backend int, reason string) legFacts {
	return legFacts{backend: backend, vote: vote{State: voteFailed}, outcome: reason, err: reason}
}

// show puts the lacks into words: the backend, the one that it is recorded beside or -,
// the status, what metrics count, the error.
func (o *outcome) show() string {
	var b strings.Builder
	for i := range o.lacks {
		l := &o.lacks[i]
		beside := "-"
		if l.beside != nobody {
			beside = fmt.Sprint(l.beside)
		}
		fmt.Fprintf(&b, "%d/%s %d %s: %s", l.backend, beside, l.status, l.reason, l.err)
		if len(l.etag) > 0 {
			fmt.Fprintf(&b, " (%s)", l.etag)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestWhoLacksWhat names the cases that the rules speak of.
func TestWhoLacksWhat(t *testing.T) {
	type legs = []legFacts
	const three = 0b111
	tests := []struct {
		name   string
		w      writeFacts
		took   uint64
		unsure uint64
		owed   uint64
		why    string
		key    string
		lacks  []string
	}{
		{name: "all took it", w: writeFacts{legs: legs{took(0, 2), took(1, 1), took(2, 3)}}, took: three},
		{name: "R20 legs are out, and no reason is given", w: writeFacts{legs: legs{isOut(0), took(1, 1), isOut(2)}},
			took: 0b010, owed: 0b101},
		{name: "R20 a leg is out, another one has failed",
			w:    writeFacts{legs: legs{isOut(0), took(1, 2), failed(2, 1, OutcomeFailed)}},
			took: 0b010, owed: 0b101, why: "no answer", lacks: []string{"2/1 0 failed: no answer"}},
		{name: "R15 negative", w: writeFacts{legs: legs{took(0, 1), refused(1, 2, 403)}},
			took: 1, owed: 0b10, why: "answered 403", lacks: []string{"1/0 403 negative: answered 403"}},
		{name: "R15 no answer", w: writeFacts{legs: legs{failed(0, 1, OutcomeFailed), took(1, 2)}},
			took: 0b10, owed: 1, why: "no answer", lacks: []string{"0/1 0 failed: no answer"}},
		{name: "R10 stalled", w: writeFacts{legs: legs{took(0, 1), failed(1, 2, OutcomeStalled)}},
			took: 1, owed: 0b10, why: "no answer", lacks: []string{"1/0 0 stalled: no answer"}},
		{name: "R13 R14 demoted and maintained",
			w:    writeFacts{legs: legs{tagged(1, 1, "a"), skipped(0, stateDemoted), skipped(2, stateMaintained)}},
			took: 0b10, owed: 0b101, why: stateDemoted,
			lacks: []string{"0/1 0 demoted: demoted (a)", "2/1 0 maintained: maintained (a)"}},
		{name: "R15 the first reason is the journal's",
			w:    writeFacts{legs: legs{refused(0, 3, 507), took(1, 1), failed(2, 2, OutcomeFailed), skipped(3, stateDemoted)}},
			took: 0b10, unsure: 1, owed: 0b1101, why: "answered 507",
			lacks: []string{"0/1 507 negative: answered 507", "2/1 0 failed: no answer", "3/1 0 demoted: demoted"}},
		{name: "R15 beside the first by time", w: writeFacts{legs: legs{took(0, 3), refused(1, 1, 500), took(2, 2)}},
			took: 0b101, unsure: 0b10, owed: 0b10, why: "answered 500", lacks: []string{"1/2 500 negative: answered 500"}},
		{name: "R16 nobody took it, so there is no line",
			w:      writeFacts{legs: legs{refused(0, 1, 503), hadAll(1, 2), refused(2, 3, 500)}},
			unsure: 0b110, owed: three, why: "answered 503",
			lacks: []string{"0/- 503 negative: answered 503", "1/- 0 failed: no answer", "2/- 500 negative: answered 500"}},
		{name: "R33 who had all of it is unsure, who had not is not",
			w:    writeFacts{legs: legs{took(0, 1), hadAll(1, 2), failed(2, 3, OutcomeFailed)}},
			took: 1, unsure: 0b010, owed: 0b110, why: "no answer",
			lacks: []string{"1/0 0 failed: no answer", "2/0 0 failed: no answer"}},
		{name: "R30 a copy whose source is owed", w: writeFacts{kind: s3.KindCopy, legs: legs{tagged(0, 1, "a"), skipped(1, ReasonSource)}},
			took: 1, owed: 0b10, why: ReasonSource, lacks: []string{"1/0 0 " + ReasonSource + ": " + ReasonSource + " (a)"}},

		{name: "R18 one ETag in two ways of writing", w: writeFacts{compare: true, legs: legs{tagged(0, 1, "aB"), tagged(1, 2, "Ab")}}, took: 0b11},
		{name: "R18 two ETags: both owe it, and the later one is recorded",
			w:    writeFacts{compare: true, legs: legs{tagged(0, 2, "a"), tagged(1, 1, "b")}},
			took: 0b11, owed: 0b11, why: etagMismatch,
			lacks: []string{"0/1 200 etag: etag mismatch (b)", "1/- 200 etag: etag mismatch (b)"}},
		{name: "R18 they are not compared", w: writeFacts{legs: legs{tagged(0, 2, "a"), tagged(1, 1, "b")}}, took: 0b11},
		{name: "R18 the first has none, and the others are one",
			w: writeFacts{compare: true, legs: legs{tagged(0, 1, ""), tagged(1, 2, "a"), tagged(2, 3, "a")}}, took: three},
		{name: "R18 the first has none, and the others differ",
			w:    writeFacts{compare: true, legs: legs{tagged(0, 1, ""), tagged(1, 2, "a"), tagged(2, 3, "b")}},
			took: three, owed: three, why: etagMismatch,
			lacks: []string{"0/- 200 etag: etag mismatch", "1/- 200 etag: etag mismatch", "2/0 200 etag: etag mismatch (a)"}},
		{name: "R18 the ETag that is known by then is recorded",
			w:    writeFacts{compare: true, legs: legs{refused(0, 2, 403), tagged(1, 1, ""), tagged(2, 3, "a"), skipped(3, stateDemoted)}},
			took: 0b110, owed: 0b1001, why: "answered 403",
			lacks: []string{"0/1 403 negative: answered 403", "3/1 0 demoted: demoted (a)"}},
		{name: "R18 a mismatch is more of a reason than a refusal",
			w:    writeFacts{compare: true, legs: legs{refused(0, 1, 403), tagged(1, 2, "a"), tagged(2, 3, "b")}},
			took: 0b110, owed: three, why: etagMismatch,
			lacks: []string{"0/1 403 negative: answered 403 (a)", "1/- 200 etag: etag mismatch (a)", "2/1 200 etag: etag mismatch (a)"}},
		{name: "R18 a refusal's ETag is not the object's",
			w: writeFacts{compare: true, legs: legs{
				tagged(0, 2, "a"), {backend: 1, vote: vote{State: voteNegative, Order: 1}, status: 412, outcome: OutcomeNegative, err: "answered 412", etag: []byte("b")},
			}},
			took: 1, owed: 0b10, why: "answered 412", lacks: []string{"1/0 412 negative: answered 412 (a)"}},

		{name: "R26 a completed upload is on one backend alone",
			w:    writeFacts{kind: s3.KindComplete, all: three, legs: legs{tagged(1, 1, "a-2")}},
			took: 0b010, owed: 0b101, why: multipartUpload,
			lacks: []string{"0/1 0 multipart: multipart upload (a-2)", "2/1 0 multipart: multipart upload (a-2)"}},
		{name: "R26 of an upload that all were asked for",
			w:    writeFacts{kind: s3.KindComplete, all: three, legs: legs{refused(0, 1, 404), took(1, 2), took(2, 3)}},
			took: 0b110, owed: 0b101, why: multipartUpload,
			lacks: []string{"0/1 0 multipart: multipart upload", "2/- 0 multipart: multipart upload"}},
		{name: "R26 a completion that nobody took",
			w:    writeFacts{kind: s3.KindComplete, all: 0b11, legs: legs{refused(0, 1, 404)}},
			owed: 0b11, why: "answered 404",
			lacks: []string{"0/- 0 multipart: multipart upload", "1/- 0 multipart: multipart upload"}},
		{name: "R26 a completion that is out", w: writeFacts{kind: s3.KindComplete, all: 0b11, legs: legs{isOut(0)}},
			owed: 0b11, why: multipartUpload,
			lacks: []string{"0/- 0 multipart: multipart upload", "1/- 0 multipart: multipart upload"}},
		{name: "R26 a part is one backend's own", w: writeFacts{kind: s3.KindPart, legs: legs{took(0, 1), refused(1, 2, 404)}}, took: 1},

		{name: "R35 a version that both took",
			w:    writeFacts{all: 0b11, version: true, legs: legs{took(0, 2), took(1, 1)}},
			took: 0b11, owed: 0b11, why: versionOfAnother,
			lacks: []string{"0/1 200 version: version id", "1/0 200 version: version id"}},
		{name: "R35 a version that one took: it may be the other's",
			w:    writeFacts{all: three, version: true, compare: true, legs: legs{took(0, 1), refused(1, 2, 404), skipped(2, stateDemoted)}},
			took: 1, owed: three, why: versionOfAnother,
			lacks: []string{"0/- 200 version: version id", "1/0 404 negative: answered 404", "2/0 0 demoted: demoted"}},
		{name: "R35 a version of the only backend", w: writeFacts{all: 1, version: true, legs: legs{took(0, 1)}}, took: 1},

		{name: "R34 a form, under its own key",
			w:    writeFacts{kind: s3.KindForm, bucket: true, key: "k", legs: legs{told(0, 1, "k"), told(1, 2, "/k"), told(2, 3, "")}},
			took: three, key: "k"},
		{name: "R34 a form, under the first one's key",
			w:    writeFacts{kind: s3.KindForm, bucket: true, key: "k-${filename}", legs: legs{told(0, 2, "k-${filename}"), told(1, 1, "k-a")}},
			took: 0b11, owed: 1, why: anotherKey, key: "k-a", lacks: []string{"0/1 303 key: stored under another key"}},
		{name: "R34 a form in a bucket that is not known",
			w:    writeFacts{kind: s3.KindForm, legs: legs{told(0, 2, "k"), told(1, 1, "k")}},
			took: 0b11, owed: 1, why: anotherKey, lacks: []string{"0/1 303 key: stored under another key"}},
		{name: "R34 what has another key has another ETag, too",
			w: writeFacts{kind: s3.KindForm, bucket: true, compare: true, key: "k", legs: legs{
				tagged(0, 1, "a"), {backend: 1, vote: vote{State: votePositive, Order: 2}, status: 303, key: "j", etag: []byte("b")},
			}},
			took: 0b11, owed: 0b10, why: anotherKey, key: "k", lacks: []string{"1/0 303 key: stored under another key (a)"}},

		{name: "R24 a key that all deleted", w: writeFacts{kind: s3.KindDelete, listed: true, legs: legs{took(0, 1), took(1, 2)}}, took: 0b11},
		{name: "R24 a key that nobody deleted is as it was",
			w: writeFacts{kind: s3.KindDelete, listed: true, legs: legs{kept(0, 1, "not deleted: AccessDenied"), refused(1, 2, 403)}}},
		{name: "R24 a key that one kept",
			w:    writeFacts{kind: s3.KindDelete, listed: true, legs: legs{kept(0, 1, "not deleted: AccessDenied"), took(1, 2)}},
			took: 0b10, owed: 1, why: "not deleted: AccessDenied", lacks: []string{"0/1 200 positive: not deleted: AccessDenied"}},
		{name: "R24 the first by place, and the last reason",
			w: writeFacts{kind: s3.KindDelete, listed: true, legs: legs{
				refused(0, 1, 503), took(1, 3), tagged(2, 2, "a"), skipped(3, stateMaintained),
			}},
			took: 0b110, owed: 0b1001, why: stateMaintained,
			lacks: []string{"0/1 503 negative: answered 503", "3/1 0 maintained: maintained"}},
		{name: "R24 an answer that cannot be read: it may have deleted the key",
			w:    writeFacts{kind: s3.KindDelete, listed: true, legs: legs{unreadable(0, 1), refused(1, 2, 403)}},
			owed: 0b11, why: "answered 403",
			lacks: []string{"0/- 200 positive: unreadable", "1/0 403 negative: answered 403"}},
		{name: "R24 two answers that cannot be read: the first one",
			w:    writeFacts{kind: s3.KindDelete, listed: true, legs: legs{unreadable(0, 2), unreadable(1, 1)}},
			owed: 0b11, why: "unreadable",
			lacks: []string{"0/- 200 positive: unreadable", "1/0 200 positive: unreadable"}},
		{name: "R24 who is known to have deleted it goes before",
			w:    writeFacts{kind: s3.KindDelete, listed: true, legs: legs{unreadable(0, 1), took(1, 2)}},
			took: 0b10, owed: 1, why: "unreadable", lacks: []string{"0/1 200 positive: unreadable"}},
		{name: "R24 a leg that is out", w: writeFacts{kind: s3.KindDelete, listed: true, legs: legs{isOut(0), kept(1, 1, "not deleted: X")}}, owed: 1},
		{name: "R24 R35 a version that one deleted",
			w:    writeFacts{kind: s3.KindDelete, listed: true, version: true, all: 0b11, legs: legs{took(0, 1), kept(1, 2, "not deleted: X")}},
			took: 1, owed: 0b11, why: versionOfAnother,
			lacks: []string{"0/- 200 version: version id", "1/0 200 positive: not deleted: X"}},
		{name: "R24 R35 a version that nobody deleted, as far as they say",
			w:    writeFacts{kind: s3.KindDelete, listed: true, version: true, all: 0b11, legs: legs{refused(0, 1, 403), refused(1, 2, 403)}},
			owed: 0b11, why: versionOfAnother,
			lacks: []string{"0/- 403 negative: answered 403", "1/- 403 negative: answered 403"}},
		{name: "R24 a list that cannot be read is one write",
			w:    writeFacts{kind: s3.KindDelete, legs: legs{took(0, 1), refused(1, 2, 403)}},
			took: 1, owed: 0b10, why: "answered 403", lacks: []string{"1/0 403 negative: answered 403"}},

		{name: "R19 overlapped, and all took it",
			w:    writeFacts{overlapped: three, legs: legs{took(0, 2), tagged(1, 1, "a")}},
			took: 0b11, owed: three, why: outOfOrder,
			lacks: []string{"0/1 0 concurrent: concurrent writes (a)", "1/- 0 concurrent: concurrent writes (a)", "2/1 0 concurrent: concurrent writes (a)"}},
		{name: "R19 overlapped, but one is known to lack it",
			w:    writeFacts{overlapped: 0b11, legs: legs{took(0, 1), refused(1, 2, 403)}},
			took: 1, owed: 0b10, why: "answered 403",
			lacks: []string{"1/0 403 negative: answered 403", "0/- 0 concurrent: concurrent writes", "1/0 0 concurrent: concurrent writes"}},
		{name: "R19 not while a leg is out", w: writeFacts{overlapped: 0b11, legs: legs{took(0, 1), isOut(1)}}, took: 1, owed: 0b10},
		{name: "R19 a key that only others have deleted",
			w:    writeFacts{kind: s3.KindDelete, listed: true, overlapped: 0b110, legs: legs{kept(2, 1, "not deleted: X"), refused(0, 2, 403)}},
			owed: 0b110, why: outOfOrder,
			lacks: []string{"1/2 0 concurrent: concurrent writes", "2/- 0 concurrent: concurrent writes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := whoLacks(&tt.w)
			if o.took != tt.took || o.unsure != tt.unsure || o.owed != tt.owed || o.why != tt.why || o.key != tt.key {
				t.Errorf("took %b, unsure %b, owed %b for %q, key %q; want %b, %b, %b for %q, %q",
					o.took, o.unsure, o.owed, o.why, o.key, tt.took, tt.unsure, tt.owed, tt.why, tt.key)
			}
			want := ""
			for _, l := range tt.lacks {
				want += l + "\n"
			}
			if got := o.show(); got != want {
				t.Errorf("lacks are\n%swant\n%s", got, want)
			}
		})
	}
}

// Whatever the legs have come to: none is forgotten, what is owed has a reason, and what
// is recorded is owed (R15, R20).
func TestR15R20WhatIsRecordedIsOwed(t *testing.T) {
	states := []func(backend, order int) legFacts{
		func(b, _ int) legFacts { return isOut(b) },
		func(b, o int) legFacts { return tagged(b, o, "a") },
		func(b, o int) legFacts { return tagged(b, o, "b") },
		func(b, o int) legFacts { return told(b, o, "other") },
		func(b, o int) legFacts { return refused(b, o, 500) },
		hadAll,
		func(b, _ int) legFacts { return skipped(b, stateDemoted) },
	}
	n := len(states)
	for i := range n * n * n * 16 {
		w := writeFacts{all: 0b111, key: "k", bucket: true, compare: i&1 != 0, version: i&2 != 0}
		w.kind = []s3.Kind{s3.KindPlain, s3.KindForm, s3.KindComplete, s3.KindCopy}[i>>2&3]
		for b, s := 0, i/16; b < 3; b, s = b+1, s/n {
			w.legs = append(w.legs, states[s%n](b, 3-b))
		}
		o := whoLacks(&w)
		recorded := uint64(0)
		for _, l := range o.lacks {
			if l.beside != nobody {
				recorded |= 1 << l.backend
			}
			if l.beside != nobody && o.took&(1<<l.beside) == 0 || l.beside == l.backend {
				t.Errorf("%+v: a record beside one that has not taken it", w)
			}
		}
		missing := w.all &^ (o.took | o.out)
		switch {
		case recorded&^o.owed != 0 || missing&^o.owed != 0 || o.out&^o.owed != 0:
			t.Errorf("%+v: recorded %b, missing %b, owed %b", w, recorded, missing, o.owed)
		case o.took != 0 && missing&^recorded != 0:
			t.Errorf("%+v: missing %b, recorded %b", w, missing, recorded)
		case (o.owed != o.out) != (o.why != "") && w.kind != s3.KindComplete && !w.version:
			t.Errorf("%+v: owed %b, out %b, reason %q", w, o.owed, o.out, o.why)
		case o.took&(o.out|o.unsure) != 0 || o.out&o.unsure != 0:
			t.Errorf("%+v: took %b, out %b, unsure %b", w, o.took, o.out, o.unsure)
		}
	}
}

// The quick way says what the long one would.
func TestWhatGoesWellIsWhatNobodyLacks(t *testing.T) {
	const plain = "/b/k"
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
	answers := []string{head + "ETag: \"a\"\r\n\r\n", head + "ETag: \"b\"\r\n\r\n", head + "\r\n"}
	for _, compares := range []bool{true, false} {
		e, err := New(Options{Backends: strangers(3), WriteAck: AckFirst, CompareETags: compares, RingSize: 4096})
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{plain, plain + "?versionId=x"} {
			well := 0
			const n = 3 * 4 // states that a leg may have come to
			for i := range n * n * n * 4 {
				r := newRequest(e)
				r.head.method, r.head.write, r.head.target = "PUT", true, s3.ParseTarget([]byte(target), nil, nil)
				if i&1 != 0 {
					r.ledger.unordered = 0b11
				}
				legs := 3
				if i&2 != 0 {
					legs, r.race.skipped, r.race.reasons[2] = 2, 0b100, stateDemoted
				}
				r.legs = r.legs[:legs]
				for j, s := 0, i/4; j < legs; j, s = j+1, s/n {
					l := &r.legs[j]
					l.r, l.backend, l.index, l.state, l.err, l.outcome = r, j, j, voteState(s%4), errPanicked, OutcomeFailed
					r.race.votes = append(r.race.votes, vote{State: l.state, Order: 3 - j})
					if err := l.answer.Parse([]byte(answers[s%n/4])); err != nil {
						t.Fatal(err)
					}
				}
				got, w := r.outcome(r.race.votes), r.facts(r.race.votes)
				want := whoLacks(&w)
				if got.took != want.took || got.out != want.out || got.unsure != want.unsure || got.owed != want.owed ||
					got.why != want.why || got.show() != want.show() {
					t.Fatalf("%s %+v: %+v, want %+v", target, r.race.votes, got, want)
				}
				_, _, ok := r.goesWell(r.race.votes)
				fails := slices.ContainsFunc(want.lacks, func(l lack) bool { return l.aspect != lacksOrder })
				if ok && fails || !ok && !fails && !r.head.target.Version {
					t.Fatalf("%s %+v: goes well %v, but %+v", target, r.race.votes, ok, want.lacks)
				}
				if ok {
					well++
				}
			}
			if some := target == plain; some != (well > 0) {
				t.Errorf("%s: %d go well", target, well)
			}
		}
	}
}

// It keeps nothing of its argument's legs but what it says that it does, and changes none.
func TestWhoLacksChangesNothing(t *testing.T) {
	w := writeFacts{kind: s3.KindForm, bucket: true, compare: true, key: "k", all: 0b111, overlapped: 0b111, legs: []legFacts{
		told(0, 2, "j"), tagged(1, 1, "a"), tagged(2, 3, "b"),
	}}
	before := slices.Clone(w.legs)
	a := whoLacks(&w)
	b := whoLacks(&w)
	if a.show() != b.show() || a.owed != b.owed || fmt.Sprint(before) != fmt.Sprint(w.legs) {
		t.Errorf("%+v, then %+v of %+v, before %+v", a, b, w.legs, before)
	}
}
