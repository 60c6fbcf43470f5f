package engine

// beginRepair notes that repair is about to make the key equal, unless a client
// is writing it: then it must come back later.
func (o *overlaps) beginRepair(hash uint64) bool {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.runLocked(hash)
	if k.open > 0 {
		return false
	}
	k.open, k.repairing, k.touched = 1, true, false
	return true
}

// endRepair ends it, and reports whether no client's write has begun meanwhile.
func (o *overlaps) endRepair(hash uint64) (clean bool) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	if k == nil || !k.repairing {
		panic("engine: EndRepair without BeginRepair")
	}
	clean = !k.touched
	k.unseal()
	k.repairing = false
	s.leaveLocked(k)
	return clean
}

// seal keeps clients' writes from beginning, unless one has since beginRepair.
func (o *overlaps) seal(hash uint64) bool {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	if k == nil || !k.repairing || k.touched || k.sealed != nil {
		return false
	}
	k.sealed = make(chan struct{})
	return true
}

func (o *overlaps) unseal(hash uint64) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.findLocked(hash); k != nil {
		k.unseal()
	}
}

func (k *overlap) unseal() {
	if k.sealed != nil {
		close(k.sealed)
		k.sealed = nil
	}
}

// SealRepair makes clients' writes to the key wait, for SlotTimeout each at most,
// while repair changes it on a backend: a storage that knows no conditional writes
// would take repair's copy over theirs. It is false where one has begun since
// BeginRepair: repair must look again. UnsealRepair has to follow a true, soon;
// EndRepair does so, too.
func (e *Engine) SealRepair(bucket, key string) bool { return e.writes.seal(hashKey(bucket, key)) }

// UnsealRepair ends what SealRepair began, if it is not over yet.
func (e *Engine) UnsealRepair(bucket, key string) { e.writes.unseal(hashKey(bucket, key)) }

// BeginRepair notes that repair is about to make an object equal on all backends.
// It is false where a client's write to it is under way: repair comes back later.
// key is decoded. Any goroutine may call it; EndRepair has to follow a true.
func (e *Engine) BeginRepair(bucket, key string) bool {
	return e.writes.beginRepair(hashKey(bucket, key))
}

// EndRepair ends what BeginRepair began. It is false where a client's write has
// begun meanwhile: what repair has seen may be out of date. Such a write does not overlap with
// anything of repair's (R19): it begins before repair changes a backend, which repair then
// does not do any more, or after that.
func (e *Engine) EndRepair(bucket, key string) (clean bool) {
	return e.writes.endRepair(hashKey(bucket, key))
}
