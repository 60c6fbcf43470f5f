package pipes

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/testkit"
)

// mustGet waits for pipes: all processes of a user without CAP_SYS_RESOURCE share 128 of this
// size (pipe-user-pages-soft), and others that the tests run beside may have them for a moment.
func mustGet(t *testing.T, readers int) *Set {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // poll
		s, err := Get(readers)
		if err == nil {
			return s
		}
		if !errors.Is(err, ErrBusy) || time.Now().After(end) {
			t.Fatal(err)
		}
		free.mu.Lock()
		free.refused = time.Time{}
		free.mu.Unlock()
	}
}

// read empties reader i's pipe.
func read(t *testing.T, s *Set, i int) []byte {
	t.Helper()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(s.Reader(i), buf)
		if err == unix.EAGAIN {
			return all
		}
		testkit.MustDo(t, err)
		all = append(all, buf[:n]...)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func TestEveryReaderGetsEveryByte(t *testing.T) {
	for _, readers := range []int{1, 2, 5} {
		s := mustGet(t, readers)
		for _, size := range []int{1, 4096, 70_000, Batch} {
			body := random(size)
			testkit.MustDo(t, s.Write(body))
			testkit.MustDo(t, s.Copy(1<<readers-1, size))
			for i := range readers {
				if got := read(t, s, i); !bytes.Equal(got, body) {
					t.Fatalf("reader %d of %d got %d bytes, want the %d that were written", i, readers, len(got), size)
				}
			}
		}
		s.Put()
	}
}

func TestReadersThatHaveLeftGetNothing(t *testing.T) {
	s := mustGet(t, 3)
	defer s.Put()
	body := random(10_000)
	testkit.MustDo(t, s.Write(body))
	testkit.MustDo(t, s.Copy(0b101, len(body)))
	for i, want := range [][]byte{body, nil, body} {
		if got := read(t, s, i); !bytes.Equal(got, want) {
			t.Errorf("reader %d got %d bytes, want %d", i, len(got), len(want))
		}
	}
}

// What one upload leaves in its pipes must not reach another one.
func TestLeftoversAreThrownAway(t *testing.T) {
	s := mustGet(t, 2)
	testkit.MustDo(t, s.Write([]byte("left in the intake")))
	s.Put()
	s = mustGet(t, 2)
	testkit.MustDo(t, s.Write([]byte("left in a reader's pipe")))
	testkit.MustDo(t, s.Copy(0b11, len("left in a reader's pipe")))
	s.Put()
	s = mustGet(t, 2)
	defer s.Put()
	for i := range 2 {
		if got := read(t, s, i); len(got) > 0 {
			t.Errorf("reader %d begins with %q", i, got)
		}
	}
}

// What is duplicated can be had again, even by a reader that has taken part of it, and can be read
// back.
func TestTheIntakeKeepsWhatIsDuplicated(t *testing.T) {
	s := mustGet(t, 2)
	body := random(70_000)
	testkit.MustDo(t, s.Write(body))
	testkit.MustDo(t, s.Duplicate(0b11, len(body)))
	if got := read(t, s, 0); !bytes.Equal(got, body) {
		t.Fatalf("reader 0 got %d bytes", len(got))
	}
	if _, err := unix.Read(s.Reader(1), make([]byte, 10_000)); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		testkit.MustDo(t, s.Refill(i, len(body)))
	}
	for i := range 2 {
		if got := read(t, s, i); !bytes.Equal(got, body) {
			t.Fatalf("reader %d got %d bytes the second time", i, len(got))
		}
	}
	back := make([]byte, len(body))
	if err := s.ReadBack(back[:len(body)-1]); err != nil || !bytes.Equal(back[:len(body)-1], body[:len(body)-1]) {
		t.Fatalf("other bytes came back: %v", err)
	}
	if err := s.ReadBack(back[:2]); err == nil {
		t.Fatal("two bytes came back where one was left")
	}
	s.Put()
	s = mustGet(t, 2)
	defer s.Put()
	if err := s.ReadBack(back[:1]); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("the next intake is not empty: %v", err)
	}
}

// An emptied pipe counts as empty only until something is put into it again.
func TestEmptiedPipesAreFilledAgain(t *testing.T) {
	body := random(70_000)
	for name, fill := range map[string]func(*Set) error{
		"Duplicate": func(s *Set) error { return s.Duplicate(0b11, len(body)) },
		"Copy":      func(s *Set) error { return s.Copy(0b11, len(body)) },
		"Refill":    func(s *Set) error { return errors.Join(s.Refill(0, len(body)), s.Refill(1, len(body))) },
	} {
		s := mustGet(t, 2)
		testkit.MustDo(t, s.Write(body))
		testkit.MustDo(t, s.Duplicate(0b11, len(body)))
		for i := range 2 {
			read(t, s, i)
			s.Emptied(i)
		}
		testkit.MustDo(t, fill(s))
		s.Put()
		s = mustGet(t, 2)
		for i := range 2 {
			if got := read(t, s, i); len(got) > 0 {
				t.Errorf("%s: reader %d begins with %d bytes", name, i, len(got))
			}
		}
		if err := s.ReadBack(make([]byte, 1)); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("%s: the next intake is not empty: %v", name, err)
		}
		s.Put()
	}
}

// A copy that a pipe has no room for is an error, never a shorter copy.
func TestCopyNeedsEmptyPipes(t *testing.T) {
	s := mustGet(t, 2)
	defer s.Put()
	for step := range 2 {
		testkit.MustDo(t, s.Write(random(Batch)))
		err := s.Copy(0b11, Batch)
		if (err != nil) != (step == 1) {
			t.Fatalf("copy %d: %v", step, err)
		}
	}
}

// Most of the process's files are left to connections, also where nobody has set a bound.
func TestFilesAreBounded(t *testing.T) {
	Trim()
	mustGet(t, 2).Put() // opens what all sets share
	Trim()
	used := func(n int) {
		free.mu.Lock()
		defer free.mu.Unlock()
		free.files += n
	}
	others := maxFiles() - 6 // as if they were in other sets
	used(others)
	defer used(-others)
	s := mustGet(t, 2)
	refused := Refusals()
	if _, err := Get(2); !errors.Is(err, ErrBusy) || Refusals() != refused+1 {
		t.Errorf("beyond %d files: %v, refused %d times", maxFiles(), err, Refusals()-refused)
	}
	s.Put()
}

// Once the system has refused pipes it is not asked again at each upload, but only later.
func TestRefusedPipesAreAskedForLater(t *testing.T) {
	var kept []*Set
	for len(free.sets) > 0 {
		kept = append(kept, mustGet(t, 1))
	}
	free.refused = time.Now().Add(time.Hour) // longer than this test takes
	if _, err := Get(1); !errors.Is(err, ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	free.refused = time.Now().Add(-retryAfter)
	s := mustGet(t, 1)
	s.Put()
	free.refused = time.Now().Add(time.Hour)
	mustGet(t, 1).Put() // a set that is free can be had
	free.refused = time.Time{}
	for _, s := range kept {
		s.Put()
	}
}

// The tests call trim themselves.
func init() { trimAfter = time.Hour }

// freeSets returns the number of free sets, and of the file descriptors of all sets.
func freeSets() (sets, files int) {
	free.mu.Lock()
	defer free.mu.Unlock()
	return len(free.sets), free.files
}

// TestR23UnusedPipesGoBack: what a burst has left is closed after a while; what is constantly in
// use stays.
func TestR23UnusedPipesGoBack(t *testing.T) {
	mustGet(t, 2).Put() // opens what all sets share
	Trim()
	_, before := freeSets()
	openFiles := countFiles(t)
	var burst []*Set
	for range 10 {
		burst = append(burst, mustGet(t, 2))
	}
	for _, s := range burst {
		s.Put()
	}
	trim() // the first run was due when there was one set
	if sets, files := freeSets(); sets < 9 || files < before+6*9 {
		t.Fatalf("%d sets, %d files: used a moment ago, and closed", sets, files)
	}
	for range 3 { // one is used again and again
		mustGet(t, 2).Put()
		trim()
		if sets, files := freeSets(); sets != 1 || files != before+6 {
			t.Errorf("%d sets, %d files, want one in use", sets, files)
		}
	}
	trim()
	if sets, files := freeSets(); sets != 0 || files != before {
		t.Errorf("%d sets, %d files are left", sets, files)
	}
	if n := countFiles(t); n > openFiles {
		t.Errorf("%d files are open, %d were before", n, openFiles)
	}
}

// Put makes sure that trim is called.
func TestR23UnusedPipesGoBackByThemselves(t *testing.T) {
	Trim()
	free.mu.Lock()
	free.trimming, trimAfter = false, time.Millisecond
	free.mu.Unlock()
	sets := []*Set{mustGet(t, 2), mustGet(t, 2), mustGet(t, 2)}
	for _, s := range sets {
		s.Put()
	}
	testkit.Eventually(t, "no set is left, and nothing is trimmed any more", func() bool {
		free.mu.Lock()
		defer free.mu.Unlock()
		return len(free.sets) == 0 && !free.trimming
	})
	free.mu.Lock()
	defer free.mu.Unlock()
	trimAfter = time.Hour
}

func countFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	testkit.MustDo(t, err)
	return len(entries)
}

func TestR23TheBoundOfFilesIsSet(t *testing.T) {
	Trim()
	defer mostFiles.Store(0)
	SetMaxFiles(11)
	s := mustGet(t, 2)
	if _, err := Get(2); !errors.Is(err, ErrBusy) {
		t.Errorf("12 files where 11 may be: %v", err)
	}
	s.Put()
	SetMaxFiles(0)
	Trim()
	if _, err := Get(1); !errors.Is(err, ErrBusy) {
		t.Errorf("files where none may be: %v", err)
	}
}

// A set with too few pipes makes room for one with more.
func TestR23SetsOfFewerReadersMakeRoom(t *testing.T) {
	Trim()
	defer mostFiles.Store(0)
	SetMaxFiles(8)
	mustGet(t, 2).Put()
	mustGet(t, 3).Put()
}

func BenchmarkCopy(b *testing.B) {
	s, err := Get(2)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Put()
	null, err := unix.Open("/dev/null", unix.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(null)
	body := random(Batch)
	b.SetBytes(Batch)
	for b.Loop() {
		if err := s.Write(body); err != nil {
			b.Fatal(err)
		}
		if err := s.Copy(0b11, Batch); err != nil {
			b.Fatal(err)
		}
		for i := range 2 {
			for left := Batch; left > 0; {
				n, err := unix.Splice(s.Reader(i), nil, null, nil, left, 0)
				if err != nil {
					b.Fatal(err)
				}
				left -= int(n)
			}
		}
	}
}
