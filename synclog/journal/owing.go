package journal

import (
	"net/http"
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// Owing says how much each backend, by its index in Options.Backends, is owed, and since when.
type Owing struct {
	Oldest []uint64 // Seq of about its oldest entry; 0: none
	Bytes  []int64  // of the objects that it is owed; beyond owingSample keys an estimate
}

// owingSample is how many keys' records are read to learn the objects' sizes, which are not in
// memory.
const owingSample = 128

// Owing examines the pending keys. It holds the lock for one page of them at a time, because there
// may be millions, and reads up to owingSample records, so it is meant for a scrape, not for each
// request.
func (j *Journal) Owing() Owing {
	n := len(j.o.Backends)
	o := Owing{Oldest: make([]uint64, n), Bytes: make([]int64, n)}
	keys, sample := j.lookAtOwed(&o)
	sizes, read := make([]int64, n), make([]int64, n)
	for _, age := range sample {
		if t, _, ok := j.Next(age - 1); ok {
			j.addOwed(&t, sizes, read)
		}
	}
	for i := range n {
		switch {
		case read[i] == 0:
		case keys[i] <= int(read[i]): // all of them
			o.Bytes[i] = sizes[i]
		default:
			o.Bytes[i] = int64(float64(sizes[i]) / float64(read[i]) * float64(keys[i]))
		}
	}
	return o
}

// lookAtOwed finds each backend's oldest key, and returns how many keys each one is owed and the
// ages of some of them, evenly spread.
func (j *Journal) lookAtOwed(o *Owing) (keys []int, sample []uint64) {
	keys = make([]int, len(o.Oldest))
	j.mu.Lock()
	step := (j.keys.visible + owingSample - 1) / owingSample
	j.mu.Unlock()
	age, seen := uint64(0), 0
	for more := step > 0; more; {
		j.mu.Lock()
		more = !j.closed && j.keys.pageAfter(age, func(s *slot) {
			if age = s.age; s.bits&slotHidden != 0 {
				return
			}
			owed := j.keys.classes[s.kind].owed
			for i := range keys {
				if owed&(1<<i) == 0 {
					continue
				}
				if keys[i]++; o.Oldest[i] == 0 {
					o.Oldest[i] = s.age
				}
			}
			if seen%step == 0 && len(sample) < owingSample {
				sample = append(sample, s.age)
			}
			seen++
		})
		j.mu.Unlock()
	}
	return keys, sample
}

// addOwed adds a key's size for the backends that are owed its content, and counts the key for all
// that are owed anything of it.
func (j *Journal) addOwed(t *task.Task, sizes, read []int64) {
	for _, name := range t.Owed() {
		if i := slices.Index(j.o.Backends, name); i >= 0 {
			read[i]++
		}
	}
	w := t.Of(task.Content)
	if w == nil || w.Method == http.MethodDelete {
		return
	}
	for _, name := range w.Owed {
		if i := slices.Index(j.o.Backends, name); i >= 0 {
			sizes[i] += w.Size
		}
	}
}
