package journal

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// checkOpens compares the open intents with those that there should be, by hash in the
// order of seq.
func checkOpens(t *testing.T, o *opens, want map[uint64]uint32) {
	t.Helper()
	byHash := map[uint32][]uint64{}
	unlogged := map[uint32]int{}
	for seq, hash := range want {
		byHash[hash] = append(byHash[hash], seq)
		id, ok := o.find(seq)
		if !ok {
			t.Fatalf("%d is lost", seq)
		}
		if !o.list[id].logged() {
			unlogged[hash]++
		}
		if !o.list[id].logged() && !slices.Contains(o.unlogged, id) {
			t.Fatalf("nobody will log %d", seq)
		}
	}
	if o.len() != len(want) || o.byKey.used != len(byHash) {
		t.Fatalf("%d intents of %d hashes, want %d of %d", o.len(), o.byKey.used, len(want), len(byHash))
	}
	for hash, seqs := range byHash {
		slices.Sort(seqs)
		var got []uint64
		newest := uint32(noOpen)
		for id := o.oldest(hash); id != noOpen; id = o.list[id].newer {
			if o.list[id].older != newest {
				t.Fatal("the way back is another one")
			}
			got, newest = append(got, o.list[id].seq), id
		}
		c := o.list[o.oldest(hash)].chain
		if !slices.Equal(got, seqs) || c.newest != newest || c.unlogged != unlogged[hash] {
			t.Fatalf("of hash %d there are %d, %+v; want %d and %d not logged", hash, got, c, seqs, unlogged[hash])
		}
	}
	for hash := range uint32(6) {
		seqs := byHash[hash]
		if o.inFlight(hash, noOpen) != (len(seqs) > 0) {
			t.Fatal("in flight")
		}
		if len(seqs) > 0 {
			id, _ := o.find(seqs[0])
			if o.inFlight(hash, id) != (len(seqs) > 1) {
				t.Fatal("in flight, but for one")
			}
		}
	}
}

func TestOpensOfManyKeys(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		var o opens
		want := map[uint64]uint32{}
		var seqs []uint64
		for seq := uint64(1); seq < 400; seq++ {
			s := seq*10 + uint64(random.IntN(300)) // mostly ascending
			if _, ok := want[s]; !ok && random.IntN(5) > 0 {
				hash := uint32(random.IntN(5))
				at := place{}
				if random.IntN(2) == 0 {
					at = place{seg: 1, size: 9}
				}
				o.add(s, hash, at, typeIntent, []byte("p"))
				want[s] = hash
				seqs = append(seqs, s)
			}
			if len(seqs) > 0 && random.IntN(3) == 0 {
				i := random.IntN(len(seqs))
				id, _ := o.find(seqs[i])
				if e := &o.list[id]; !e.logged() && random.IntN(2) == 0 {
					e.at = place{seg: 1, size: 9}
					o.toldLog(e)
				} else {
					o.remove(id)
					delete(want, seqs[i])
					seqs = slices.Delete(seqs, i, i+1)
				}
			}
			checkOpens(t, &o, want)
		}
	}
}

// Very many writes of one key, as a hostile client sends them, are a list that nobody
// walks (R23), and leave little behind.
func TestR23OneKeyOverAndOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	const n = 20_000
	var seqs []uint64
	for i := range n {
		e := opened(put("k", 0b10))
		e.Target = []byte(fmt.Sprintf("/b/k?%01000d", i))
		testkit.MustDo(t, r.intend(&e))
		seqs = append(seqs, e.Seq)
	}
	if r.opens.byKey.used != 1 || r.Stats().Open != n {
		t.Fatalf("%d hashes of %d intents", r.opens.byKey.used, r.Stats().Open)
	}
	random := rand.New(rand.NewPCG(1, 1))
	slices.SortFunc(seqs[n/2:], func(x, y uint64) int { return cmp.Compare(y, x) })
	random.Shuffle(n/4, func(i, j int) { seqs[i], seqs[j] = seqs[j], seqs[i] })
	for _, seq := range seqs {
		r.settle(seq, 0, nil)
	}
	r.wantAlways("")
	if len(r.opens.list) > 4*keptOpens || len(r.opens.unlogged) > 4*keptOpens {
		t.Errorf("memory is kept for %d intents", len(r.opens.list))
	}
}
