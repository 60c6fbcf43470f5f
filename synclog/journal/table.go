package journal

// table finds ids by a 32-bit hash: open addressing with linear probing and without tombstones. It
// does not store hashes; its owner knows them.
type table struct {
	cells []uint32 // id+1; 0: empty. A power of two, at most three quarters full.
	used  int
}

// hasher returns the hash of an id that is in the table.
type hasher interface{ hashOf(id uint32) uint32 }

const minCells = 16

func (t *table) insert(h hasher, id uint32) {
	if 4*(t.used+1) > 3*len(t.cells) {
		t.resize(h, max(minCells, 2*len(t.cells)))
	}
	t.put(h.hashOf(id), id)
	t.used++
}

func (t *table) put(hash, id uint32) {
	i := t.home(hash)
	for t.cells[i] != 0 {
		i = t.next(i)
	}
	t.cells[i] = id + 1
}

func (t *table) resize(h hasher, n int) {
	old := t.cells
	t.cells = make([]uint32, n)
	for _, c := range old {
		if c != 0 {
			t.put(h.hashOf(c-1), c-1)
		}
	}
}

// home is the cell where a search for hash begins. The table must not be empty.
func (t *table) home(hash uint32) uint32 { return hash & uint32(len(t.cells)-1) }

func (t *table) next(i uint32) uint32 { return (i + 1) & uint32(len(t.cells)-1) }

// replace puts another id with the same hash in an id's place.
func (t *table) replace(hash, id, by uint32) { t.cells[t.cell(hash, id)] = by + 1 }

// cell is where an id that is in the table is stored.
func (t *table) cell(hash, id uint32) uint32 {
	i := t.home(hash)
	for t.cells[i] != id+1 {
		if t.cells[i] == 0 {
			panic("journal: not in the table")
		}
		i = t.next(i)
	}
	return i
}

// remove takes out an id, and moves back those that had to give way to it.
func (t *table) remove(h hasher, id uint32) {
	hole := t.cell(h.hashOf(id), id)
	mask := uint32(len(t.cells) - 1)
	for i := t.next(hole); t.cells[i] != 0; i = t.next(i) {
		home := t.home(h.hashOf(t.cells[i] - 1))
		if (i-home)&mask >= (i-hole)&mask { // hole is on its way from home to here
			t.cells[hole] = t.cells[i]
			hole = i
		}
	}
	t.cells[hole] = 0
	t.used--
	if n := len(t.cells); n > 1024 && 8*t.used < n {
		t.resize(h, n/2)
	}
}

// first and after iterate over the ids whose hash may be hash:
//
//	for i, id, ok := t.first(hash); ok; i, id, ok = t.after(i) {
func (t *table) first(hash uint32) (i, id uint32, ok bool) {
	if len(t.cells) == 0 {
		return 0, 0, false
	}
	i = t.home(hash)
	return i, t.cells[i] - 1, t.cells[i] != 0
}

func (t *table) after(i uint32) (next, id uint32, ok bool) {
	i = t.next(i)
	return i, t.cells[i] - 1, t.cells[i] != 0
}
