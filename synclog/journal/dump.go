package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// Dump writes every record of a directory's files for people, in the order of the files,
// with its offset; and where there is none, what is damaged. It needs no lock and changes
// nothing. It says nothing of what the records come to: Read does.
func Dump(dir string, w io.Writer) error {
	b := &book{readOnly: true}
	b.init(osFS{}, dir, nil)
	if err := b.list(); err != nil {
		b.closeFiles()
		return fmt.Errorf("journal: cannot list %q: %w", dir, err)
	}
	defer b.closeFiles()
	d := &dumper{w: bufio.NewWriter(w)}
	for _, s := range b.segs {
		d.file(s.name(), s.file, s.size, s.salt, int64(len(segmentMagic)), segmentMagic)
	}
	f, err := b.fs.Open(b.path(checkpointName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.w.Flush()
	case err != nil:
		return errors.Join(err, d.w.Flush())
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return errors.Join(err, d.w.Flush())
	}
	head := make([]byte, len(checkpointMagic)+4)
	if err := readFull(f, head, 0); err == nil {
		d.file(checkpointName, f, size, binary.LittleEndian.Uint32(head[len(checkpointMagic):]), int64(len(head)), checkpointMagic)
	} else {
		fmt.Fprintf(d.w, "%s: %d bytes: damaged: %v\n", checkpointName, size, err)
	}
	return d.w.Flush()
}

// dumper writes one file after another. A bufio.Writer keeps its error.
type dumper struct {
	w     *bufio.Writer
	names []string // of the file's masks
}

func (d *dumper) file(name string, f File, size int64, salt uint32, off int64, magic string) {
	d.names = nil
	fmt.Fprintf(d.w, "%s: %d bytes\n", name, size)
	sc := scanner{f: f, size: size, salt: salt, off: min(off, size)}
	sc.tail = sc.off
	sc.bad = func(from, to int64) { fmt.Fprintf(d.w, "%10d damaged: %d bytes are no record\n", from, to-from) }
	if got := string(sc.at(0, len(magic))); got != magic {
		fmt.Fprintf(d.w, "%10d damaged: %q stands there, not %q\n", 0, got, magic)
	}
	for {
		typ, payload, at, ok := sc.next()
		if !ok {
			break
		}
		fmt.Fprintf(d.w, "%10d ", at)
		d.record(typ, payload)
	}
	if sc.tail < size {
		fmt.Fprintf(d.w, "%10d %d bytes at the end are no record\n", sc.tail, size-sc.tail)
	}
	if sc.unread != nil {
		fmt.Fprintf(d.w, "           cannot read all of it: %v\n", sc.unread)
	}
}

func (d *dumper) record(typ byte, payload []byte) {
	p := decoder{p: payload}
	switch typ {
	case typeNames:
		d.names = p.names()
		fmt.Fprintf(d.w, "names %q\n", d.names)
	case typeSettle:
		fmt.Fprintf(d.w, "settle %d\n", p.uint64())
	case typeGone:
		of, closes, err := parseGone(payload)
		if err != nil {
			p.bad = true
			break
		}
		fmt.Fprintf(d.w, "gone %s%s\n", of.text(), nonZero(" closes", closes))
		return
	case typeIntent, typeOldIntent:
		var e Entry
		if parseIntent(&e, payload, typ, 1<<len(d.names)-1) != nil {
			p.bad = true
			break
		}
		fmt.Fprintf(d.w, "intent%s %s\n", oldText(typ == typeOldIntent), identOf(&e).text())
		d.entry("write", &e)
		return
	case typeState, typeOldState:
		var r record
		if r.parsePayload(payload, typ, 1<<len(d.names)-1) != nil {
			p.bad = true
			break
		}
		d.state(typ, &r)
		return
	case typeBegin:
		p.take(16)
		fmt.Fprintf(d.w, "begin seq %s the log from segment %d offset %d", when(p.uint64()), p.uint32(), p.uint64())
		d.names = p.names()
		fmt.Fprintf(d.w, " names %q\n", d.names)
	case typeOpens:
		fmt.Fprintf(d.w, "opens: %d\n", len(payload)/20)
		return
	case typeKeys:
		fmt.Fprintf(d.w, "keys: %d\n", len(payload)/slotSize)
		return
	case typeClasses:
		fmt.Fprintf(d.w, "classes\n")
		for len(p.p) > 0 && !p.bad {
			owed, lacking, bucket, parked := p.uint64(), p.uint64(), p.bytes(), p.byte()
			fmt.Fprintf(d.w, "             owed %s lacking %s bucket %q%s", d.backends(owed), d.backends(lacking), bucket, parkText(parked))
			if removing := p.uvarint(); removing != 0 {
				fmt.Fprintf(d.w, " removing %s", d.backends(removing))
			}
			fmt.Fprintln(d.w)
		}
	case typeEnd:
		fmt.Fprintf(d.w, "end of %d keys\n", p.uint64())
	default:
		fmt.Fprintf(d.w, "a record of type %d, %d bytes\n", typ, len(payload))
		return
	}
	if p.end() != nil {
		fmt.Fprintf(d.w, "damaged: no payload of type %d: %x\n", typ, payload[:min(len(payload), 64)])
	}
}

// parkText is what parkCode stands for.
func parkText(code byte) string {
	switch i := int(code) - 1; {
	case i < 0:
		return ""
	case i < len(task.ParkReasons):
		return fmt.Sprintf(" parked %q", string(task.ParkReasons[i]))
	}
	return " parked"
}

func (d *dumper) state(typ byte, r *record) {
	fmt.Fprintf(d.w, "state%s %s first %s%s%s", oldText(typ == typeOldState), r.ident().text(), when(r.first),
		nonZero(" closes", r.closes), nonZero(" tries", r.tries))
	if r.notBefore != 0 {
		fmt.Fprintf(d.w, " not before %s", when(uint64(r.notBefore)))
	}
	if len(r.parked) > 0 {
		fmt.Fprintf(d.w, " parked %q", r.parked)
	}
	if len(r.lastError) > 0 {
		fmt.Fprintf(d.w, " last error %q", r.lastError)
	}
	if r.rivalsLost != 0 {
		fmt.Fprintf(d.w, " rivals lost %08b", r.rivalsLost)
	}
	if r.targetsLost {
		fmt.Fprint(d.w, " targets lost")
	}
	fmt.Fprintln(d.w)
	for i := range r.writes {
		d.entry("write", &r.writes[i])
	}
	for i := range r.rivals {
		d.entry("rival", &r.rivals[i])
	}
}

func (d *dumper) entry(what string, e *Entry) {
	fmt.Fprintf(d.w, "           %s of %s seq %s", what, aspectNames[e.Aspect], when(e.Seq))
	if e.Settled != 0 {
		fmt.Fprintf(d.w, " settled %s", when(e.Settled))
	}
	if e.Answered != 0 {
		fmt.Fprintf(d.w, " answered %s", when(e.Answered))
	}
	fmt.Fprintf(d.w, " owed %s took %s size %d", d.backends(e.Owed), d.backends(e.Took), e.Size)
	for _, flag := range []struct {
		is   bool
		name string
	}{{e.Overlapped, "overlapped"}, {e.OverlapKnown, "by known ones"}, {e.Unacknowledged, "unacknowledged"}, {e.Unrepeatable, "unrepeatable"}, {e.Carried&task.CarriedTags != 0, "tags"}, {e.Carried&task.CarriedLock != 0, "lock"}, {e.Carried&task.CarriedMetadata != 0, "metadata"}} {
		if flag.is {
			fmt.Fprint(d.w, " ", flag.name)
		}
	}
	fmt.Fprintf(d.w, " method %q target %q host %q etag %q id %q reason %q", e.Method, e.Target, e.Host, e.ETag, e.ID, e.Reason)
	for _, x := range e.ETags {
		fmt.Fprintf(d.w, " etag of %s %q", d.backends(1<<(x.Backend&63)), x.ETag)
	}
	if e.MadeNull != 0 {
		fmt.Fprintf(d.w, " made null at %s", d.backends(e.MadeNull))
	}
	for _, x := range e.Made {
		fmt.Fprintf(d.w, " made %q at %s", x.ETag, d.backends(1<<(x.Backend&63)))
	}
	fmt.Fprintln(d.w)
}

var aspectNames = [...]string{
	task.Content: "content", task.Tags: "tags", task.ACL: "ACL", task.Retention: "retention", task.LegalHold: "legal hold",
	task.Setting: "a setting", task.Version: "a version", task.Found: "a difference that was found",
}

// backends are a mask's names, as far as the file has them.
func (d *dumper) backends(mask uint64) string {
	if mask == 0 {
		return "-"
	}
	var list []string
	for ; mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		if i < len(d.names) {
			list = append(list, strconv.Quote(d.names[i]))
		} else {
			list = append(list, strconv.Itoa(i))
		}
	}
	return strings.Join(list, ",")
}

func (d ident) text() string {
	if len(d.key) == 0 {
		return fmt.Sprintf("bucket %q target %q", d.bucket, d.target)
	}
	return fmt.Sprintf("bucket %q key %q", d.bucket, d.key)
}

func oldText(old bool) string {
	if old {
		return " of an earlier version"
	}
	return ""
}

func nonZero(name string, n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(name, " ", n)
}

// when is a seq with what it means.
func when(seq uint64) string {
	return fmt.Sprintf("%d (%s)", seq, time.Unix(0, int64(seq)).UTC().Format(time.RFC3339Nano))
}
