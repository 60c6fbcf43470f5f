package journal

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// only gives the one key that is pending.
func (r *rig) only() *task.Task {
	r.t.Helper()
	all := r.all()
	if len(all) != 1 {
		r.t.Fatalf("pending %+v", all)
	}
	return &all[0]
}

// always is only, also after a restart.
func (r *rig) always(check func(p *task.Task)) {
	r.t.Helper()
	check(r.only())
	r.mustFlush()
	r.restart()
	check(r.only())
}

// R35: a write replaces what was known of its own aspect, and of no other; each aspect has
// its own backends that owe it.
func TestR35EachAspectByItself(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	aspects := []task.Aspect{task.Content, task.Tags, task.ACL, task.Retention, task.LegalHold}
	for i, a := range aspects {
		r.promise(of(a, put("k", 1<<(i%3))))
	}
	tags := of(task.Tags, with(put("k", 4), "DELETE"))
	r.promise(tags)
	r.always(func(p *task.Task) {
		if len(p.Writes) != len(aspects) || len(p.Rivals) != 0 {
			t.Fatalf("%+v", p)
		}
		for i, a := range aspects {
			owed, method := uint64(1)<<(i%3), "PUT"
			if a == task.Tags {
				owed, method = 4, "DELETE"
			}
			if w := p.Of(a); w == nil || maskOf(w.Owed, r.o.Backends) != owed || w.Method != method {
				t.Errorf("aspect %d: %+v", a, w)
			}
		}
	})
}

// R35: writes that overlapped are known as such, until one that began after them replaces
// them; so are writes of unknown outcome.
func TestR35Rivals(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	begun := []Entry{opened(put("k", 2)), opened(with(put("k", 4), "DELETE"))} // before either was answered
	for i := range begun {
		begun[i].Seq = r.Stamp(time.Now())
	}
	older, newer := r.promise(begun[0]), r.promise(begun[1])
	r.settle(newer, 4, nil)
	r.settle(older, 2, nil)
	r.promise(untold(put("k", 1)))
	r.always(func(p *task.Task) {
		if w := p.Of(task.Content); w == nil || w.Seq != newer || w.Method != "DELETE" || !w.Overlapped || len(p.Rivals) != 2 || p.Rivals[0].Seq != older ||
			p.Rivals[0].Unacknowledged || !p.Rivals[1].Unacknowledged || w.Settled <= w.Seq {
			t.Fatalf("%+v", p)
		}
	})
	r.promise(of(task.Tags, put("k", 1))) // which is of another aspect
	r.always(func(p *task.Task) {
		if len(p.Rivals) != 2 {
			t.Fatalf("%+v", p)
		}
	})
	r.promise(put("k", 2))
	r.always(func(p *task.Task) {
		if w := p.Of(task.Content); w.Method != "PUT" || w.Overlapped || len(w.Owed) != 1 || len(p.Rivals) != 0 || p.RivalsLost {
			t.Fatalf("%+v", p)
		}
	})
}

// R19, R35: a delete that began when a write had been acknowledged takes that away, also
// where a slow leg of it lands behind the delete: whichever of them ends first, and across a
// restart.
func TestR19DeleteBehindASlowLeg(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"PUT", "DELETE"} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("the %s ends first, restart %v", first, restart), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, Options{})
				older := r.promise(opened(put("k", 2)))
				newer := r.promise(opened(with(put("k", 4), "DELETE")))
				settle := func(seq uint64) { r.Journal.settleOpen(&Entry{Seq: seq, Owed: 3, Took: 3}) } // their order is in doubt
				if first == "PUT" {
					settle(older)
				} else {
					settle(newer)
				}
				if restart {
					r.mustFlush()
					r.restart() // which ends the other one
				} else if first == "PUT" {
					settle(newer)
				} else {
					settle(older)
				}
				r.always(func(p *task.Task) {
					w := p.Of(task.Content)
					if w == nil || w.Method != "DELETE" || len(p.Rivals) != 0 || maskOf(w.Owed, r.o.Backends)&3 != 3 {
						t.Fatalf("%+v", p)
					}
				})
			})
		}
	}
}

// What there is no room for is known to be missing, and who owes it stays known.
func TestR35RoomForRivalsAndVersions(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(untold(put("k", 4)))
	for range maxRivals {
		r.promise(untold(put("k", 1)))
	}
	r.always(func(p *task.Task) {
		if len(p.Rivals) != maxRivals || !p.RivalsLost || r.owedBy(p) != 5 {
			t.Fatalf("%+v", p)
		}
	})
	r.promise(put("k", 2))
	r.always(func(p *task.Task) {
		if len(p.Rivals) != 0 || p.RivalsLost || r.owedBy(p) != 2 {
			t.Fatalf("%+v", p)
		}
	})
	version := func(i int, owed uint64) {
		e := of(task.Version, with(put("k", owed), "DELETE"))
		e.Target = fmt.Appendf(nil, "/b/k?versionId=%d", i)
		r.promise(e)
	}
	version(0, 4)
	for i := range maxTargets {
		version(i+1, 1)
	}
	version(maxTargets, 1) // one that is known already
	r.always(func(p *task.Task) {
		if len(p.Writes) != maxTargets+1 || !p.VersionsLost || r.owedBy(p) != 7 || p.Of(task.Content) == nil {
			t.Fatalf("%d writes, owed %b, %v", len(p.Writes), r.owedBy(p), p.VersionsLost)
		}
	})
}

// What repair has done of a key, and what it has learnt, it can write down; a key that is
// parked stays pending whatever is owed.
func TestR35NoteOfWhatIsDone(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(put("k", 6))
	r.promise(of(task.Tags, put("k", 2)))
	p := r.only()
	w := p.Of(task.Content)
	w.Owed, w.Took, w.ETags = []string{"c:3"}, []string{"b:2"}, map[string]string{"b:2": "its own"}
	if !r.Note(p) {
		t.Fatal("not noted")
	}
	r.always(func(p *task.Task) {
		if w := p.Of(task.Content); fmt.Sprint(w.Owed, w.Took, w.ETags) != "[c:3] [b:2] map[b:2:its own]" || len(p.Of(task.Tags).Owed) != 1 {
			t.Fatalf("%+v", p)
		}
	})
	p = r.only()
	for i := range p.Writes {
		p.Writes[i].Owed = nil
	}
	p.Parked, p.NotBefore = task.NotKept, time.Time{}
	if !r.Note(p) || r.only().Parked != task.NotKept {
		t.Fatalf("%+v", r.all())
	}
	p = r.only()
	for i := range p.Writes {
		p.Writes[i].Owed = nil
	}
	p.Parked = ""
	if !r.Note(p) || len(r.all()) != 0 {
		t.Fatalf("%+v", r.all())
	}
}

// R19, R35: of a write whose client was told before the next one began it is known that
// legs came in that order.
func TestR35WhenAClientWasTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	older := r.promise(opened(put("k", 2)))
	newer := r.promise(opened(put("k", 4)))
	r.settle(newer, 4, nil)
	r.settle(older, 2, nil)
	r.always(func(p *task.Task) {
		w := p.Of(task.Content)
		if len(p.Rivals) != 1 || p.Rivals[0].Answered < older || p.Rivals[0].Answered > newer || w.Answered < newer {
			t.Fatalf("%+v", p)
		}
	})
}

// R19, R35: a write that ended well while another one was under way is not in the log. Where
// that one then is owed, it is told of both.
func TestR35WhatEndedBesideIsKnown(t *testing.T) {
	t.Parallel()
	for _, promised := range []bool{false, true} {
		r := newRig(t, Options{})
		first, second := put("k", 0), put("k", 3)
		first.Seq, second.Seq = r.Stamp(time.Now()), r.Stamp(time.Now())
		first.Took, second.Took = 3, 3
		first.Settled, first.Overlapped, second.Overlapped = r.Stamp(time.Now()), true, true
		w := &Write{j: r.Journal, slot: noSlot} // a table is a file of the system
		if promised {
			open := opened(second)
			if err := w.Acknowledge([]Entry{open}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Settle([]Entry{second}); err != nil {
			t.Fatal(err)
		}
		r.always(func(p *task.Task) {
			if !p.Writes[0].Overlapped || p.Writes[0].OverlapKnown {
				t.Fatalf("promised %t, told of nothing yet: %+v", promised, p)
			}
		})
		w.j = r.Journal // which has been opened again
		known := second
		known.Owed, known.OverlapKnown = 0, true
		w.Beside([]Entry{first, known})
		w.Beside([]Entry{first}) // another write that it overlapped with tells so, too
		w.End()
		r.always(func(p *task.Task) {
			if len(p.Writes) != 1 || p.Writes[0].Seq != second.Seq || len(p.Rivals) != 1 || p.Rivals[0].Seq != first.Seq || p.Rivals[0].Settled != first.Settled {
				t.Fatalf("promised %t: %+v", promised, p)
			}
			if w := p.Writes[0]; !w.OverlapKnown || maskOf(w.Owed, r.o.Backends) != second.Owed {
				t.Fatalf("promised %t, told of all: %+v", promised, p)
			}
		})
		// One that had ended before what stands began is no rival.
		third := put("k", 1)
		r.promise(third)
		w = &Write{j: r.Journal, slot: noSlot}
		w.Beside([]Entry{first})
		w.End()
		r.always(func(p *task.Task) {
			if len(p.Rivals) != 0 {
				t.Fatalf("promised %t: %+v", promised, p)
			}
		})
	}
}

// R35: whether all is known that a write overlapped with, its end says, and the writes that the log has by itself. A
// process that ended before has not said it; nor has a journal of before, whose records are as this one's without it.
func TestR35WhetherAllOverlapIsKnown(t *testing.T) {
	t.Parallel()
	crowded := put("k", 2)
	crowded.Overlapped = true
	known := crowded
	known.OverlapKnown = true
	for _, tt := range []struct {
		about string
		do    func(r *rig)
		want  bool
	}{
		{"not told", func(r *rig) { r.promise(crowded) }, false},
		{"told", func(r *rig) { r.promise(known) }, true},
		{"killed before its end", func(r *rig) { r.promise(opened(known)); r.restart() }, false},
		{"killed before its end was told", func(r *rig) { r.settleOpen(&Entry{Seq: r.promise(opened(known)), Owed: 2}) }, false},
		{"told at its end", func(r *rig) { r.settleOpen(&Entry{Seq: r.promise(opened(crowded)), Owed: 2, OverlapKnown: true}) }, true},
		{"one that the log knows was late", func(r *rig) {
			first := r.promise(opened(put("k", 2)))
			r.promise(put("k", 4))
			r.settle(first, 2, nil)
		}, true},
		{"one that the log knows was late, beside others that it does not", func(r *rig) {
			first := r.promise(opened(put("k", 2)))
			r.promise(crowded)
			r.settle(first, 2, nil)
		}, false},
		{"one that the log knows began later", func(r *rig) {
			first := opened(put("k", 2))
			first.Seq = r.Stamp(time.Now())
			r.promise(put("k", 4))
			r.settle(r.promise(first), 2, nil)
		}, true},
	} {
		r := newRig(t, Options{})
		tt.do(r)
		r.always(func(p *task.Task) {
			if w := p.Of(task.Content); !w.Overlapped || w.OverlapKnown != tt.want {
				t.Errorf("%s: %+v", tt.about, w)
			}
		})
	}
	before, now := appendEntry(nil, &crowded, crowded.Key, nil), appendEntry(nil, &known, known.Key, nil)
	if before[0] != byte(task.Content) || now[0] != byte(task.Content)|aspectOverlapKnown || !bytes.Equal(before[1:], now[1:]) {
		t.Errorf("%x, want what it was before but for its bit: %x", now, before)
	}
	alone := known
	if alone.Overlapped = false; appendEntry(nil, &alone, alone.Key, nil)[0] != byte(task.Content) {
		t.Error("one that overlapped with nothing is written in another way than before")
	}
}

// R35: what was owed before a write that a backend took may still land there, also where
// another backend lacks that write.
func TestR35WhatMayLandLate(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(put("k", 2))
	newer := put("k", 1)
	newer.Took = 2 | 4
	r.promise(newer)
	r.always(func(p *task.Task) {
		if got := maskOf(p.Writes[0].Owed, r.o.Backends); got != 1|2 {
			t.Fatalf("owed %b: %+v", got, p)
		}
	})
}

// R19: the second look for a write that may land late stays due while all backends take what is written since; what
// one of them may lack puts it off.
func TestR19SecondLookStaysDueBehindWritesThatAllTook(t *testing.T) {
	t.Parallel()
	all := func(e Entry) Entry { e.Owed, e.Took = 0, 3; return e }
	taken := func(e Entry) Entry { e.Took = 1; return e }
	for name, tt := range map[string]struct {
		then  Entry
		stays bool
	}{
		"all took it":                    {all(put("k", 0)), true},
		"all deleted it":                 {all(with(put("k", 0), "DELETE")), true},
		"all took its tags":              {all(of(task.Tags, put("k", 0))), true},
		"one gave no answer":             {taken(put("k", 2)), false},
		"one gave none about its tags":   {taken(of(task.Tags, put("k", 2))), false},
		"nobody was told of it":          {untold(put("k", 2)), false},
		"it overlapped with another":     {Entry{Method: "PUT", Bucket: []byte("b"), Key: []byte("k"), Owed: 3, Took: 3, Overlapped: true}, false},
		"a difference was found besides": {with(put("k", 2), ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Options{})
			r.promise(taken(put("k", 2)))
			r.promise(all(put("k", 0)))
			p, due := r.only(), time.Now().Add(time.Hour).Truncate(time.Second)
			p.LastError, p.NotBefore = task.StillLate, due
			if !r.Note(p) {
				t.Fatal("it is not noted")
			}
			r.promise(tt.then)
			r.always(func(p *task.Task) {
				if stays := p.NotBefore.Equal(due) && p.LastError == task.StillLate; stays != tt.stays || r.owedBy(p)&2 == 0 || !stays && !p.NotBefore.IsZero() {
					t.Errorf("%+v", p)
				}
			})
		})
	}
	r := newRig(t, Options{})
	r.promise(taken(put("k", 2)))
	p := r.only()
	p.LastError, p.NotBefore = "it failed", time.Now().Add(time.Hour)
	if !r.Note(p) {
		t.Fatal("it is not noted")
	}
	r.promise(all(put("k", 0)))
	if p := r.only(); p.LastError != "" || !p.NotBefore.IsZero() {
		t.Errorf("what was tried before stands: %+v", p)
	}
}
