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

// progress is a command's screen: lines that stay and, on a terminal, one line below them that
// shows the progress. Any goroutine may call its methods.
type progress struct {
	w        io.Writer
	terminal bool

	mu   sync.Mutex
	line string // the line at the bottom, or ""
}

// progressWidth is what any terminal has; a longer line would not be erased.
const progressWidth = 79

const progressInterval = 200 * time.Millisecond

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	if o, is := w.(*output); is {
		f, ok = o.Writer.(*os.File)
	}
	if !ok {
		return &progress{w: w}
	}
	info, err := f.Stat()
	return &progress{w: w, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// begin shows what line returns until the returned function is called, which may be called more
// than once.
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

// print writes a line that stays to w, which may be another writer on the same screen.
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

// Info and Warn implement repair's Log.
func (p *progress) Info(msg string, keyvals ...any) {
	p.print(p.w, "akubra: "+withValues(msg, keyvals))
}

// Warn is for what the operator may want to act on.
func (p *progress) Warn(msg string, keyvals ...any) {
	p.print(p.w, "akubra: warning: "+withValues(msg, keyvals))
}

func withValues(msg string, keyvals []any) string {
	var b strings.Builder
	b.WriteString(msg)
	for i, v := range keyvals {
		switch {
		case i == 0:
			fmt.Fprintf(&b, " (%v", v)
		case i%2 == 0:
			fmt.Fprintf(&b, ", %v", v)
		default:
			fmt.Fprintf(&b, ": %v", v)
		}
	}
	if len(keyvals) > 0 {
		b.WriteByte(')')
	}
	return text.Printable(b.String())
}

// bar draws a fraction between 0 and 1.
func bar(part float64) string {
	const width = 20
	n := int(part * width)
	return strings.Repeat("=", n) + strings.Repeat(" ", width-n)
}
