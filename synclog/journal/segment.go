package journal

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	segmentMagic = "akubraJ1"
	segmentExt   = ".seg"
	damagedExt   = ".damaged"
	maxNames     = 64 // bits of a mask
)

// segment is one file of the log.
type segment struct {
	num  uint32 // ascending; 0 is none
	salt uint32
	file File  // nil: not made yet
	size int64 // of what is written and good
	live int   // records that a key or an open intent needs

	// bits[i] is our bit for the i-th of its backends; nil means that they are the same.
	bits    []uint8
	unnamed bool // its names are lost: each mask stands for all backends

	readers int   // who reads without the lock; it is not deleted meanwhile
	synced  int64 // of size; what an earlier process wrote may not be
	suspect bool  // a write or sync failed: its live records have to be written anew
	damaged bool
	kept    bool   // has its .damaged name
	tried   bool   // to give it that name
	made    uint64 // the change of the directory that made it
	leaving bool   // its file is about to be removed
	lost    bool   // or was, by somebody else
}

// name is the name of the segment's file. The salt is in the name, not in the file, so that no
// damage to the file can destroy it.
func (s *segment) name() string { return fmt.Sprintf("%010d-%08x%s", s.num, s.salt, segmentExt) }

func parseSegmentName(name string) (num, salt uint32, ok bool) {
	base, ok := strings.CutSuffix(name, segmentExt)
	if !ok || len(base) != 19 || base[10] != '-' {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(base[:10], 10, 32)
	raw, herr := hex.DecodeString(base[11:])
	if err != nil || herr != nil || n == 0 {
		return 0, 0, false
	}
	salt = uint32(raw[0])<<24 | uint32(raw[1])<<16 | uint32(raw[2])<<8 | uint32(raw[3])
	return uint32(n), salt, (&segment{num: uint32(n), salt: salt}).name() == name
}

// header is what a segment begins with.
func header(salt uint32, names []string) []byte {
	b := appendNames(beginFrame([]byte(segmentMagic), typeNames), names)
	endFrame(b[len(segmentMagic):], salt)
	return b
}

// ours translates a mask of the segment's into one of ours.
func (s *segment) ours(mask uint64) (m uint64) {
	if s.bits == nil {
		return mask
	}
	for i, bit := range s.bits {
		if mask>>i&1 != 0 {
			m |= 1 << bit
		}
	}
	return m
}

// all is the mask of all the segment's backends, if it was written with others than ours.
func (s *segment) all() uint64 { return 1<<len(s.bits) - 1 }

// setNames takes over the segment's backends; those that are new to the book get bits of their
// own.
func (b *book) setNames(s *segment, names []string) {
	s.bits = make([]uint8, len(names))
	for i, name := range names {
		s.bits[i] = b.bitOf(name)
	}
}

func (b *book) bitOf(name string) uint8 {
	for i, n := range b.names {
		if n == name {
			return uint8(i)
		}
	}
	if len(b.names) == maxNames {
		b.problem("journal: more than %d backends, today's and earlier ones: what %q is owed is put down to %q",
			maxNames, name, b.names[maxNames-1])
		return maxNames - 1
	}
	b.names = append(b.names, name)
	return uint8(len(b.names) - 1)
}

// total is the size of all segments.
func (b *book) total() (n int64) {
	for _, s := range b.segs {
		n += s.size
	}
	return n
}

func (b *book) path(name string) string { return filepath.Join(b.dir, name) }

// keep gives a damaged segment a second name, under which it is never deleted.
func (b *book) keep(s *segment) {
	if s.kept || s.tried || b.readOnly {
		return
	}
	s.tried = true
	kept, err := b.link(s)
	if s.kept = kept; err != nil {
		b.problem("%w", err)
	}
}

// link creates that name; it needs no lock.
func (b *book) link(s *segment) (kept bool, err error) {
	from := b.path(s.name())
	if err := b.fs.Link(from, from+damagedExt); err != nil && !isExist(err) {
		return false, fmt.Errorf("journal: cannot keep the damaged segment %q: %w", s.name(), err)
	}
	if err := b.fs.SyncDir(b.dir); err != nil {
		return true, fmt.Errorf("journal: cannot sync %q: %w", b.dir, err)
	}
	return true, nil
}
