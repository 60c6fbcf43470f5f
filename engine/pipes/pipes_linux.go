package pipes

import (
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// Set holds the pipes of one upload.
type Set struct {
	intake pipe
	legs   []pipe
	all    []pipe // every pipe of the set, including the intake
	kept   int    // bytes left in the intake, if known
}

type pipe struct {
	r, w  int
	empty bool // known to be empty
}

// Get returns empty pipes for an upload with this many readers. It fails with ErrBusy, or with the
// system's error if the system refuses pipes.
func Get(readers int) (*Set, error) {
	s := takeFree()
	if s != nil && len(s.legs) >= readers {
		return s, nil
	}
	if s != nil { // of when there were fewer backends; its files are needed
		s.close()
	}
	free.mu.Lock()
	if free.files+2*(readers+1) > maxFiles() || time.Since(free.refused) < retryAfter {
		free.mu.Unlock()
		refusals.Add(1)
		return nil, ErrBusy
	}
	free.files += 2 * (readers + 1)
	free.mu.Unlock()
	s, err := open(readers)
	if err != nil {
		free.mu.Lock()
		free.files -= 2 * (readers + 1)
		free.refused = time.Now()
		free.mu.Unlock()
		refusals.Add(1)
		return nil, err
	}
	return s, nil
}

// takeFree takes the set that was given back last, if there is one.
func takeFree() *Set {
	free.mu.Lock()
	defer free.mu.Unlock()
	n := len(free.sets)
	if n == 0 {
		return nil
	}
	s := free.sets[n-1]
	free.sets[n-1] = nil
	free.sets = free.sets[:n-1]
	free.unused = min(free.unused, n-1)
	return s
}

// Refusals is how often Get has failed. Where it has not changed, each upload that asked for pipes
// has got them.
func Refusals() int64 { return refusals.Load() }

var refusals atomic.Int64

// Put gives the pipes back and discards what is left in them.
func (s *Set) Put() {
	if !s.emptyAll() {
		s.close()
		return
	}
	free.mu.Lock()
	defer free.mu.Unlock()
	if len(free.sets) >= maxFree {
		go s.close()
		return
	}
	free.sets = append(free.sets, s)
	if !free.trimming {
		free.trimming, free.unused = true, len(free.sets)
		time.AfterFunc(trimAfter, trim)
	}
}

// trim closes the sets that have not been taken since its last run: those at the bottom of the
// stack. It schedules itself as long as there are any.
func trim() {
	free.mu.Lock()
	unused := slices.Clone(free.sets[:free.unused])
	free.sets = slices.Delete(free.sets, 0, free.unused)
	free.unused = len(free.sets)
	free.trimming = free.unused > 0
	if free.trimming {
		time.AfterFunc(trimAfter, trim)
	}
	free.mu.Unlock()
	for _, s := range unused {
		s.close()
	}
}

// trimAfter is how long a set may stay unused; it may also be twice as long.
var trimAfter = 10 * time.Second

// Trim closes all sets that are not in use, because their file descriptors are needed elsewhere
// (R23).
func Trim() {
	free.mu.Lock()
	unused := free.sets
	free.sets, free.unused = nil, 0
	free.mu.Unlock()
	for _, s := range unused {
		s.close()
	}
}

// emptyAll discards what is in the pipes and reports whether it could. It skips pipes known to be
// empty: each check costs half a percent of a small upload (bench/NOTES.md).
func (s *Set) emptyAll() bool {
	for i := range s.legs {
		if p := &s.legs[i]; !p.empty {
			if p.empty = p.drain(); !p.empty {
				return false
			}
		}
	}
	if kept := s.kept; kept > 0 {
		s.kept = 0
		if n, err := nonblock.Splice(s.intake.r, null(), Batch); err == nil && n == kept {
			return true
		}
	}
	return s.intake.drain()
}

// maxFree bounds the sets kept for later uploads.
const maxFree = 256

// drain discards what is in a pipe and reports whether it could.
func (p pipe) drain() bool {
	for {
		// A short splice may have been interrupted.
		switch n, err := nonblock.Splice(p.r, null(), Batch); {
		case n > 0, err == unix.EINTR:
		default:
			return err == unix.EAGAIN
		}
	}
}

// null is /dev/null, which takes whatever is spliced to it (null(4)). It is open before the first
// set exists.
func null() int { return int(nullFile.Load()) - 1 }

var nullFile atomic.Int64 // its descriptor plus one; 0 if it is not open

func openNull() error {
	if nullFile.Load() > 0 {
		return nil
	}
	fd, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open /dev/null: %w", err)
	}
	if !nullFile.CompareAndSwap(0, int64(fd)+1) {
		_ = unix.Close(fd)
	}
	return nil
}

// free holds the sets that are not in use. files counts the file descriptors of all sets. refused
// is when the system last refused pipes. unused is how many sets at the bottom have not been taken
// since trim last ran; trimming says that trim is scheduled.
var free struct {
	mu       sync.Mutex
	sets     []*Set
	files    int
	refused  time.Time
	unused   int
	trimming bool
}

// retryAfter is how long not to ask the system for pipes after it has refused some. An unprivileged
// user's pipes are limited (pipe(7), pipe-user-pages-soft), and hitting that limit costs as much as
// a request.
const retryAfter = time.Second

// SetMaxFiles bounds the file descriptors of all sets together from now on.
func SetMaxFiles(n int) { mostFiles.Store(int64(n) + 1) }

var mostFiles atomic.Int64 // plus one; 0 if SetMaxFiles was not called

func maxFiles() int {
	if n := mostFiles.Load(); n > 0 {
		return int(n - 1)
	}
	return defaultMaxFiles()
}

// defaultMaxFiles leaves most of the process's file descriptors to connections.
var defaultMaxFiles = sync.OnceValue(func() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur/4, 1<<16))
})

func open(readers int) (*Set, error) {
	if err := openNull(); err != nil {
		return nil, err
	}
	s := &Set{}
	size := 0
	for range readers + 1 {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			s.closeFiles()
			return nil, fmt.Errorf("cannot make a pipe: %w", err)
		}
		s.all = append(s.all, pipe{fds[0], fds[1], true})
		// Beyond a certain limit the system grants smaller pipes. All must be of equal size, or
		// what fits into one does not fit into the next.
		got, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, Batch)
		if err == nil && size == 0 {
			size = got
		}
		if err != nil || got != size {
			s.closeFiles()
			return nil, fmt.Errorf("cannot make a pipe of %d bytes: %w", Batch, ErrBusy)
		}
	}
	s.intake, s.legs = s.all[0], s.all[1:]
	return s, nil
}

func (s *Set) close() {
	s.closeFiles()
	free.mu.Lock()
	free.files -= 2 * len(s.all)
	free.mu.Unlock()
}

func (s *Set) closeFiles() {
	for _, p := range s.all {
		_ = unix.Close(p.r)
		_ = unix.Close(p.w)
	}
}

// Intake is the descriptor to splice into, up to Batch bytes between two calls of Copy.
func (s *Set) Intake() int { return s.intake.w }

// Reader is the descriptor that reader i splices from.
func (s *Set) Reader(i int) int { return s.legs[i].r }

// Write puts bytes that are in memory into the intake.
func (s *Set) Write(p []byte) error {
	for len(p) > 0 {
		n, err := nonblock.Write(s.intake.w, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot write to a pipe: %w", err)
		}
		p = p[n:]
	}
	return nil
}

// ReadBack takes the first len(p) bytes back out of the intake.
func (s *Set) ReadBack(p []byte) error {
	for len(p) > 0 {
		n, err := nonblock.Read(s.intake.r, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("cannot read %d bytes from a pipe: %w", len(p), err)
		}
		p = p[n:]
	}
	return nil
}

// Copy moves n bytes from the intake to the pipe of each reader in the set readers; these pipes
// must be empty.
func (s *Set) Copy(readers uint64, n int) error {
	last := bits.Len64(readers) - 1
	if err := s.duplicate(readers&^(1<<last), n); err != nil {
		return err
	}
	s.legs[last].empty = false
	for n > 0 {
		got, err := nonblock.Splice(s.intake.r, s.legs[last].w, n)
		if err == unix.EINTR {
			continue
		}
		if err != nil || got == 0 {
			return fmt.Errorf("cannot move %d bytes: %w", n, err)
		}
		n -= got
	}
	return nil
}

// Duplicate copies the intake's n bytes, which must be all it holds, to the pipe of each reader in
// the set readers; these pipes must be empty. The intake keeps its bytes.
func (s *Set) Duplicate(readers uint64, n int) error {
	s.kept = n
	return s.duplicate(readers, n)
}

func (s *Set) duplicate(readers uint64, n int) error {
	for ; readers != 0; readers &= readers - 1 {
		p := &s.legs[bits.TrailingZeros64(readers)]
		p.empty = false
		got, err := tee(s.intake.r, p.w, n)
		if err != nil || got != n {
			return fmt.Errorf("cannot duplicate %d bytes, did %d: %w", n, got, err)
		}
	}
	return nil
}

// Emptied records that everything in pipe i has been taken. Whoever took it calls it.
func (s *Set) Emptied(i int) { s.legs[i].empty = true }

// Refill makes reader i's pipe hold exactly the n bytes of the intake, which keeps them. Reader i's
// goroutine calls it; other readers may do so at the same time.
func (s *Set) Refill(i, n int) error {
	if !s.legs[i].drain() {
		return fmt.Errorf("cannot empty a pipe of %d bytes", n)
	}
	return s.duplicate(1<<i, n)
}

func tee(from, to, n int) (int, error) {
	for {
		got, err := nonblock.Tee(from, to, n)
		if err != unix.EINTR {
			return got, err
		}
	}
}
