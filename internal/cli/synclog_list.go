package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/task"
)

// listTable is for people.
type listTable struct {
	out      *tabwriter.Writer
	now      time.Time
	filtered bool // not all was asked for
	rows     int
}

// tableRows is how many rows are aligned together: a table of millions must not be held in memory.
const tableRows = 1000

func (l *listTable) entry(t *task.Task, _ []string) error {
	if l.rows == 0 {
		if _, err := io.WriteString(l.out, "AGE (PROXY'S CLOCK)\tWRITE\tOWED BY\tOBJECT\tSTATE\tREASON\n"); err != nil {
			return err
		}
	}
	w := ledger.NewestOf(t)
	write := cmp.Or(w.Method, "-")
	if part := ledger.Part(&w); part != "" && t.Key != "" {
		write += " " + part
	}
	_, err := fmt.Fprintf(l.out, "%s\t%s\t%s\t%s\t%s\t%s\n", age(l.now, t.First), text.Printable(write),
		text.Printable(strings.Join(t.Owed(), ",")), text.Printable(ledger.ObjectOf(t)), stateOf(t), text.Printable(ledger.ReasonOf(t)))
	if l.rows++; err == nil && l.rows%tableRows == 0 {
		err = l.out.Flush()
	}
	return err
}

func (l *listTable) end() error {
	if l.rows == 0 {
		said := "nothing pending\n"
		if l.filtered {
			said = "nothing pending that matches\n"
		}
		_, _ = io.WriteString(l.out, said) // Flush has the error
	}
	return l.out.Flush()
}

func stateOf(t *task.Task) string {
	switch {
	case t.Open:
		return "open"
	case t.Parked != "" && t.Parked != task.Failed:
		return fmt.Sprintf("parked, %s: %s", text.Printable(string(t.Parked)), short(t.LastError))
	case t.Parked != "":
		return fmt.Sprintf("parked after %d tries: %s", t.Tries, text.Printable(t.LastError))
	case t.Tries > 0:
		return fmt.Sprintf("%d tries: %s", t.Tries, text.Printable(t.LastError))
	}
	return "pending"
}

// short is what of a long error stands in a table; show has all of it.
func short(s string) string {
	const most = 80
	if s = text.Printable(s); len(s) <= most {
		return s
	}
	cut := strings.LastIndexByte(s[:most], ' ')
	if cut < most/2 {
		cut = most
	}
	return strings.ToValidUTF8(s[:cut], "") + " …"
}

// age is how long ago seq was, in the largest unit that fits.
func age(now time.Time, seq uint64) string {
	d := max(0, now.Sub(time.Unix(0, int64(seq))))
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}} {
		if d >= u.d {
			return fmt.Sprintf("%d%s", d/u.d, u.name)
		}
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// ofPart reports whether a write concerned only a part of an object or bucket.
func ofPart(w *task.Write) bool { return w.Aspect >= task.Tags && w.Aspect <= task.Setting }

// listJSON contains everything that the journal knows.
type listJSON struct{ out io.Writer }

type listedEntry struct {
	Time           time.Time  `json:"ts"`
	First          time.Time  `json:"first"` // the oldest pending write
	Method         string     `json:"method"`
	Path           jsonText   `json:"path"`
	Host           jsonText   `json:"host"`
	Bucket         jsonText   `json:"bucket"`
	Key            jsonText   `json:"key"`
	KeyBytes       []byte     `json:"keybytes,omitempty"` // if the key is not UTF-8
	ETag           jsonText   `json:"etag"`
	Size           int64      `json:"size"`
	ID             jsonText   `json:"id"`
	Owed           []string   `json:"owed"`
	Reason         jsonText   `json:"reason"`
	Open           bool       `json:"open"`
	SubResource    bool       `json:"subresource"`
	Unacknowledged bool       `json:"unacknowledged"`
	Tries          int        `json:"tries"`
	NotBefore      *time.Time `json:"notbefore,omitempty"`
	Parked         bool       `json:"parked"`
	ParkedFor      jsonText   `json:"parked_for,omitempty"` // why
	LastError      jsonText   `json:"lasterror"`
}

// jsonText becomes a JSON string, and may lose bytes that are not UTF-8.
type jsonText string

// bytesOf returns a key's bytes, as base64 in JSON, if a JSON string cannot hold it.
func bytesOf(key string) []byte {
	if utf8.ValidString(key) {
		return nil
	}
	return []byte(key)
}

func (l *listJSON) entry(t *task.Task, _ []string) error {
	w := ledger.NewestOf(t)
	e := listedEntry{
		Time: time.Unix(0, int64(w.Seq)).UTC(), First: time.Unix(0, int64(t.First)).UTC(), Method: w.Method,
		Path: jsonText(text.HideSecrets(w.Target)), Host: jsonText(w.Host), Bucket: jsonText(t.Bucket), Key: jsonText(t.Key),
		ETag: jsonText(w.ETag), Size: w.Size, ID: jsonText(w.ID), Owed: t.Owed(), Reason: jsonText(ledger.ReasonOf(t)),
		Open: t.Open, SubResource: ofPart(&w), Unacknowledged: w.Unacknowledged,
		Tries: t.Tries, Parked: t.Parked != "", ParkedFor: jsonText(t.Parked), LastError: jsonText(t.LastError),
	}
	e.KeyBytes = bytesOf(t.Key)
	if !t.NotBefore.IsZero() {
		e.NotBefore = &t.NotBefore
	}
	return writeJSONLine(l.out, &e)
}

func (l *listJSON) end() error { return nil }

func writeJSONLine(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err) // can only be a type of this package
	}
	_, err = w.Write(append(text.EscapeControls(line), '\n'))
	return err
}

// exportJSON is the synclog as if it were written now.
type exportJSON struct {
	out     io.Writer
	backend string // "" means all
	line    []byte
}

func (e *exportJSON) entry(t *task.Task, backends []string) error {
	for _, r := range ledger.OwedRecords(t, ledger.ReasonOf(t), backends) {
		if e.backend != "" && r.FailedHost != e.backend {
			continue
		}
		e.line = append(r.AppendJSON(e.line[:0]), '\n')
		if _, err := e.out.Write(e.line); err != nil {
			return err
		}
	}
	return nil
}

func (e *exportJSON) end() error { return nil }
