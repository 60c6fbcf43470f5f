package journal

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// batch is what is written in one go. Its records have their places in the log from the moment
// they are appended.
type batch struct {
	seg  *segment
	base int64 // its place in the segment
	buf  []byte
	// closes are the hashes of keys that its records end, see closing.go.
	closes []uint32

	// Group commit: the first to wait writes for all; those that come meanwhile fill the next
	// batch.
	waiters int
	done    bool
	err     error
	cond    sync.Cond
}

const (
	maxIdleBuffer = 1 << 20   // larger ones are not kept
	wakeAt        = 256 << 10 // of settlements: do not wait for the next tick
)

func (j *Journal) newBatch() *batch {
	if n := len(j.freeBatches); n > 0 {
		b := j.freeBatches[n-1]
		j.freeBatches = j.freeBatches[:n-1]
		return b
	}
	b := &batch{}
	b.cond.L = &j.mu
	return b
}

// freeLocked takes a batch back once nobody needs it.
func (j *Journal) freeLocked(b *batch) {
	if !b.done || b.waiters > 0 || len(j.freeBatches) >= 4 {
		return
	}
	if cap(b.buf) > maxIdleBuffer {
		b.buf = nil
	}
	b.seg, b.buf, b.closes, b.done, b.err = nil, b.buf[:0], b.closes[:0], false, nil
	j.freeBatches = append(j.freeBatches, b)
}

// newSegmentLocked makes a segment behind all others. Its file is created by whoever writes the
// first batch to it.
func (j *Journal) newSegmentLocked() *segment {
	s := &segment{num: 1, salt: rand.Uint32()}
	if n := len(j.segs); n > 0 {
		s.num = j.segs[n-1].num + 1
	}
	s.num = max(s.num, j.nextNum)
	j.nextNum = s.num + 1
	j.segs = append(j.segs, s)
	return s
}

// followLocked begins the batch after b, in another segment if b fills its own.
func (j *Journal) followLocked(b *batch) {
	n := j.newBatch()
	n.seg, n.base = b.seg, b.base+int64(len(b.buf))
	if n.base >= j.o.SegmentSize {
		n.seg, n.base = j.newSegmentLocked(), j.headerLen
	}
	j.cur = n
}

// appendLocked appends a key's state and returns its place.
func (j *Journal) appendLocked(r *record) place {
	start := len(j.cur.buf)
	j.cur.buf = r.appendPayload(beginFrame(j.cur.buf, typeState))
	j.counts.Written++
	return j.appendedLocked(start)
}

func (j *Journal) appendIntentLocked(e *Entry) place {
	start := len(j.cur.buf)
	j.cur.buf = appendIntent(beginFrame(j.cur.buf, typeIntent), e)
	j.counts.Written++
	return j.appendedLocked(start)
}

// appendedLocked completes the record that begins at start.
func (j *Journal) appendedLocked(start int) place {
	b := j.cur
	endFrame(b.buf[start:], b.seg.salt)
	if len(b.buf) >= wakeAt && start < wakeAt {
		j.wakeFlusher()
	}
	j.logged += int64(len(b.buf) - start)
	return place{seg: b.seg.num, off: uint32(b.base + int64(start)), size: len(b.buf) - start}
}

func (j *Journal) appendSettleLocked(seq uint64, hash uint32) {
	j.closesLocked(hash)
	start := len(j.cur.buf)
	j.cur.buf = beginFrame(j.cur.buf, typeSettle)
	j.cur.buf = binary.LittleEndian.AppendUint64(j.cur.buf, seq)
	j.appendedLocked(start)
}

func (j *Journal) appendGoneLocked(of ident, hash uint32, closes uint64) {
	j.closesLocked(hash)
	start := len(j.cur.buf)
	j.cur.buf = appendGone(beginFrame(j.cur.buf, typeGone), of, closes)
	j.appendedLocked(start)
}

// waitLocked returns once b, which is the current batch or the one being written, is written and,
// if required, synced. It gives up the lock meanwhile.
func (j *Journal) waitLocked(b *batch) error {
	b.waiters++
	for !b.done {
		if j.writing == nil && j.failure == nil {
			j.leadLocked(false)
		} else {
			b.cond.Wait()
		}
	}
	b.waiters--
	err := b.err
	if j.gone && !j.o.Continue {
		err = j.failure // it was written to where nobody finds it
	}
	j.freeLocked(b)
	return err
}

// leadLocked writes the current batch, and syncs it if required or if somebody waiting for it was
// promised that. Nobody else may be writing.
func (j *Journal) leadLocked(sync bool) {
	b := j.cur
	sync = sync || j.o.Power && b.waiters > 0
	j.writing = b
	j.followLocked(b)
	made := j.dirMade
	if b.seg.file == nil {
		made++
		j.dirMade, b.seg.made = made, made
	}
	dir := made != j.dirSynced
	j.mu.Unlock()
	err := j.write(b, sync, dir)
	j.mu.Lock()
	j.writing = nil
	j.counts.Batches++
	if err != nil {
		j.failLocked(b, b.seg, err)
	} else {
		b.seg.size = b.base + int64(len(b.buf))
		j.closedLocked(b)
		if sync {
			b.seg.synced = max(b.seg.synced, b.seg.size)
			j.dirSynced = max(j.dirSynced, made)
		}
	}
	b.done = true
	b.cond.Broadcast()
	if j.cur.waiters > 0 {
		j.cur.cond.Signal() // to lead
	}
	j.idle.Broadcast()
	j.freeLocked(b)
}

// write writes a batch to its segment, and creates the segment's file if necessary. With sync it
// syncs the file, and the directory if necessary.
func (j *Journal) write(b *batch, sync, dir bool) error {
	seg := b.seg
	if seg.file == nil {
		f, err := j.fs.Create(j.path(seg.name()))
		if err != nil {
			return err
		}
		j.mu.Lock()
		seg.file = f
		j.mu.Unlock()
		if err := writeFull(f, header(seg.salt, j.names), 0); err != nil {
			return err
		}
	}
	if err := writeFull(seg.file, b.buf, b.base); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	if err := j.sync(seg.file); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if !dir {
		return nil
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		return fmt.Errorf("sync of the directory: %w", err)
	}
	return nil
}

// sync syncs a segment's file and records how long that takes.
func (j *Journal) sync(f File) error {
	begun := time.Now()
	err := f.Sync()
	j.syncs.Add(1)
	j.syncTime.Add(int64(time.Since(begun)))
	return err
}

func writeFull(f File, p []byte, off int64) error {
	n, err := f.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}
