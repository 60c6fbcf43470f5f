package repair

import (
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// conflict is a world with one parked key that differs.
func conflict(t *testing.T, keys ...string) *world {
	t.Helper()
	w := newWorld(t, 2)
	for _, key := range keys {
		o := w.stores[0].put("b", key, "acknowledged", time.Hour)
		w.knows(key, w.by(task.Content, "PUT", o.etag, "", 0, 1))
		w.stores[1].put("b", key, "changed past the proxy", 0)
	}
	if sum := w.once(); sum.Parked != len(keys) {
		t.Fatalf("%+v", sum)
	}
	return w
}

// R35: a person's decision about a key is carried out, and closes it.
func TestR35Settle(t *testing.T) {
	for _, c := range []struct {
		about  string
		decide func(w *world) Decision
		a, b   string // what they have then; "" is nothing
	}{
		{"take the first", func(w *world) Decision { return Decision{Take: w.stores[0].name} }, "acknowledged", "acknowledged"},
		{"take the second", func(w *world) Decision { return Decision{Take: w.stores[1].name} }, "changed past the proxy", "changed past the proxy"},
		{"take one that has none", func(w *world) Decision {
			w.stores[0].remove("b", "k")
			return Decision{Take: w.stores[0].name}
		}, "", ""},
		{"the newest", func(*world) Decision { return Decision{Newest: true} }, "changed past the proxy", "changed past the proxy"},
		{"delete", func(*world) Decision { return Decision{Delete: true} }, "", ""},
		{"accept", func(*world) Decision { return Decision{Accept: true} }, "acknowledged", "changed past the proxy"},
	} {
		for _, dry := range []bool{true, false} {
			w := conflict(t, "k")
			d := c.decide(w)
			had := [2]string{w.has(0), w.has(1)}
			want := [2]string{c.a, c.b}
			if w.o.DryRun = dry; dry {
				want = had
			}
			s, err := w.repairer().Settle(t.Context(), "b", "k", "", d)
			if err != nil || s.Err != nil {
				t.Errorf("%s, dry run %v: %+v, %v", c.about, dry, s, err)
				continue
			}
			if left := len(w.q.left()); left == 0 == dry {
				t.Errorf("%s, dry run %v: %d are pending", c.about, dry, left)
			}
			if got := [2]string{w.has(0), w.has(1)}; got != want {
				t.Errorf("%s, dry run %v: they have %q, want %q", c.about, dry, got, want)
			}
		}
	}
}

// has is what a backend has of b/k.
func (w *world) has(i int) string {
	o, _ := w.stores[i].get("b", "k")
	return string(o.body)
}

// R35: a decision that cannot be told from another one, or is about nothing, changes nothing.
func TestR35SettleRefuses(t *testing.T) {
	w := conflict(t, "k")
	r := w.repairer()
	for _, d := range []Decision{{}, {Delete: true, Accept: true}, {Take: "elsewhere:1"}} {
		if s, err := r.Settle(t.Context(), "b", "k", "", d); err == nil {
			t.Errorf("%+v: %+v", d, s)
		}
	}
	if s, err := r.Settle(t.Context(), "b", "other", "", Decision{Accept: true}); err == nil {
		t.Errorf("of nothing: %+v", s)
	}
	if len(w.q.left()) != 1 || w.has(0) != "acknowledged" || w.has(1) != "changed past the proxy" {
		t.Errorf("%q, %q, %+v", w.has(0), w.has(1), w.q.left())
	}
}

// R35: all that are parked for a reason are settled alike, and no others.
func TestR35SettleAll(t *testing.T) {
	w := conflict(t, "k", "k2")
	w.wrote("pending", w.stores[0].put("b", "pending", "x", time.Minute).etag, 1)
	r := w.repairer()
	told := func(ok func(*task.Task) bool) (keys []string) {
		t.Helper()
		err := r.SettleAll(t.Context(), ok, Decision{Take: w.stores[0].name}, func(s Settled) {
			if !s.Done || s.Err != nil {
				t.Errorf("%+v", s)
			}
			keys = append(keys, s.Task.Key)
		})
		testkit.MustDo(t, err)
		return keys
	}
	if keys := told(Parked(task.Lost)); len(keys) != 0 {
		t.Errorf("settled as lost: %q", keys)
	}
	if keys := told(Parked(task.Conflict)); len(keys) != 2 {
		t.Errorf("settled: %q", keys)
	}
	if left := w.q.left(); len(left) != 1 || left[0].Key != "pending" || w.has(1) != "acknowledged" {
		t.Errorf("%q, %+v", w.has(1), left)
	}
}

// R35: a decision is about what the person has seen. A write that was acknowledged since is not undone by it, however
// short before the fence it came, nor where it has un-parked the key.
func TestR35SettleIsNotAboutANewerWrite(t *testing.T) {
	w := conflict(t, "k")
	parked := w.q.left()[0]
	newer := w.by(task.Content, "PUT", md5Hex([]byte("newer")), "", 0, 1)
	newer.Seq, newer.Target = parked.Seq+1, "/b/k"
	w.o.Fence = &writtenFence{newFence(), func() {
		for _, s := range w.stores {
			s.put("b", "k", "newer", 0)
		}
		w.q.push(flat{Bucket: "b", Key: "k", Seq: newer.Seq, First: parked.First, whole: &task.Task{Bucket: "b", Key: "k", Writes: []task.Write{newer}}})
	}}
	for _, d := range []Decision{{Delete: true}, {Delete: true, OnlyParked: true}} { // the second time it is there already
		s, err := w.repairer().Settle(t.Context(), "b", "k", "", d)
		if d.OnlyParked != (err != nil) || s.Done {
			t.Errorf("%+v: %+v, %v", d, s, err)
		}
		if w.has(0) != "newer" || w.has(1) != "newer" || len(w.q.left()) != 1 {
			t.Fatalf("%+v: %q, %q, %+v", d, w.has(0), w.has(1), w.q.left())
		}
	}
}

// writtenFence is one before which a client writes the key, once.
type writtenFence struct {
	*fence
	write func()
}

func (f *writtenFence) Begin(bucket, key string) bool {
	if f.write != nil {
		f.write()
		f.write = nil
	}
	return f.fence.Begin(bucket, key)
}
