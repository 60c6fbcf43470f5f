package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/text"
)

// progress is a command's screen: lines that stay, and on a terminal one below them
// that tells how far it is. Any goroutine may call its methods.
type progress struct {
	w        io.Writer
	terminal bool

	mu   sync.Mutex
	line string // what stands below, "" for nothing
}

// progressWidth is what any terminal has: a longer line would not be wiped.
const progressWidth = 79

const progressInterval = 200 * time.Millisecond

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	if !ok {
		return &progress{w: w}
	}
	info, err := f.Stat()
	return &progress{w: w, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// begin shows what line says until the returned function is called, which may be
// called again.
func (p *progress) begin(line func() string) (end func()) {
	if !p.terminal {
		return func() {}
	}
	done := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			p.show(line())
			select {
			case <-tick.C:
			case <-done:
				p.show("")
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		showing.Wait()
	})
}

func (p *progress) show(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipeLocked()
	if p.line = line[:min(len(line), progressWidth)]; p.line != "" {
		_, _ = io.WriteString(p.w, p.line)
	}
}

func (p *progress) wipeLocked() {
	if p.line != "" {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
}

// print writes a line that stays, to w, which may be another one on the same screen.
func (p *progress) print(w io.Writer, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipeLocked()
	fmt.Fprintln(w, line)
	if p.line != "" {
		_, _ = io.WriteString(p.w, p.line)
	}
}

func (p *progress) warn(err error) { p.print(p.w, "akubra: "+text.Printable(err.Error())) }

// Info and Warn are repair's Log.
func (p *progress) Info(msg string, keyvals ...any) {
	p.print(p.w, "akubra: "+withValues(msg, keyvals))
}

// Warn is what the operator may want to act on.
func (p *progress) Warn(msg string, keyvals ...any) {
	p.print(p.w, "akubra: warning: "+withValues(msg, keyvals))
}

func withValues(msg string, keyvals []any) string {
	var b strings.Builder
	b.WriteString(msg)
	for i, v := range keyvals {
		if i%2 == 0 {
			fmt.Fprintf(&b, ", %v", v)
		} else {
			fmt.Fprintf(&b, " %v", v)
		}
	}
	return text.Printable(b.String())
}

// bar is a part of 1 as a picture.
func bar(part float64) string {
	const width = 20
	n := int(part * width)
	return strings.Repeat("=", n) + strings.Repeat(" ", width-n)
}
